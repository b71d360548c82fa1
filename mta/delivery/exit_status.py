"""
What the end of a program says of the message that it was given.

Owns: the table of exit statuses (sysexits.h), the words for people, what of a program's output is quoted.
Never: runs a program.
Fails: never. What is not known to speak of the message is a deferral: a crash, a missing program, a wrong option are
our own faults, and never bounce mail.
"""

from __future__ import annotations

import re

from mta.outcome import Deferral, Delivered, Failure, Outcome, Phase, Scope

# Status, enhanced code (RFC 3463), meaning. The codes are Postfix's. A class of 5 is for what a program says of the
# message or its recipient; what it says of itself (usage, software, configuration, a file it can't write) is for its
# operator to mend while the mail waits. Postfix bounces on those, too.
STATUSES: dict[int, tuple[str, str]] = {
    64: ("4.3.0", "command line usage error"),
    65: ("5.6.0", "data format error"),
    66: ("4.3.0", "cannot open input"),
    67: ("5.1.1", "user unknown"),
    68: ("5.1.2", "host name unknown"),
    69: ("5.3.0", "service unavailable"),
    70: ("4.3.0", "internal software error"),
    71: ("4.3.0", "system resource problem"),
    72: ("4.3.0", "critical system file missing"),
    73: ("4.2.0", "cannot create output file"),
    74: ("4.3.0", "input/output error"),
    75: ("4.3.0", "temporary failure"),
    76: ("5.5.0", "remote error in protocol"),
    77: ("5.7.0", "permission denied"),
    78: ("4.3.5", "local configuration error"),
    # What a shell, env(1) and setsid(1) say.
    126: ("4.3.0", "the program cannot be run"),
    127: ("4.3.0", "the program was not found"),
}
_UNKNOWN = ("4.3.0", "unknown exit status")
_ENHANCED = re.compile(r"([45]\.\d{1,3}\.\d{1,3})\s+(.*)", re.DOTALL)
# A report is read by people, and a program may print anything.
QUOTED_LINES = 5
QUOTED_CHARACTERS = 500


def quoted(output: bytes) -> str:
    """The first lines of what a program printed, on one line and without anything that could forge another."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    text = " / ".join([line for line in lines if line][:QUOTED_LINES])
    return "".join(item if item.isprintable() else "?" for item in text)[:QUOTED_CHARACTERS]


def judge_exit(status: int, output: bytes, host: str) -> Outcome:
    """
    The outcome of a program that ended with `status` (0 to 255) and printed `output`.

    Output that begins with an enhanced code, as "5.7.1 Not you", decides where the status is not 0 (as with Postfix).
    """
    if status == 0:
        return Delivered(host, phase=Phase.STORE)
    enhanced, meaning = STATUSES.get(status, _UNKNOWN)
    words = quoted(output)
    if found := _ENHANCED.match(words):
        enhanced, words = found[1], found[2]
    reason = f"{host}: {meaning} (exit status {status})" + (f": {words}" if words else "")
    if enhanced.startswith("5"):
        return Failure(reason, Phase.STORE, host, enhanced=enhanced)
    return Deferral(reason, Phase.STORE, Scope.RECIPIENT, host, enhanced=enhanced)


def judge_signal(number: int, cause: str, output: bytes, host: str) -> Deferral:
    """The outcome of a program that was killed, by its `cause` where we know one: it may have done its work."""
    words = quoted(output)
    reason = f"{host}: {cause or f'killed by signal {number}'}" + (f": {words}" if words else "")
    return Deferral(reason, Phase.STORE, Scope.RECIPIENT, host, enhanced="4.3.0").doubted()
