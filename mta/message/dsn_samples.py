"""
Show a report of each kind, as the program writes it.

Owns: the invented messages, and the page `docs/dsn.md`. Run it: ``python -m mta.message.dsn_samples > docs/dsn.md``.
Never: does anything for the daemon.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from mta.address import Address
from mta.envelope import Recipient
from mta.message.dsn import report
from mta.message.dsn_status import Action, ReportedMessage, ReportedRecipient
from mta.message.returned import OriginalContent
from mta.message.templates import NAMES, load
from mta.outcome import Deferral, Delivered, Failure, Handover, Phase
from mta.reply import Reply

_ARRIVED = 1_700_000_000.0
_HOST = "mx.example.net[192.0.2.25]:25"
_UNKNOWN = Reply(550, ("No such user here", "See https://example.net/help"), "5.1.1")
_FULL = Reply(452, ("Mailbox is full",), "4.2.2")
_TAKEN = Reply(250, ("Ok: queued as 9F2C1",), "2.0.0")
_ORIGINAL = (
    b"Received: from pc.example.org ([192.0.2.7]) by mx.example.org with ESMTP id 06ABCDEFGHJKM;\r\n"
    b"\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
    b"From: Alice <alice@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: Lunch\r\n"
    b"Message-ID: <1@pc.example.org>\r\n\r\nAt noon?\r\n"
)
_INTERNATIONAL = _ORIGINAL.replace(b"Bob <bob@", "José <josé@".encode()).replace(b"Lunch", "Déjeuner".encode())
_BOB = Recipient(Address("bob", "example.net"), None, "rfc822;bob@example.net")
_MESSAGE = ReportedMessage(
    "06ABCDEFGHJKM", _ARRIVED, Address("alice", "example.org"), "pc.example.org", envid="QQ314159"
)
_REFUSED = Failure(f"{_HOST} said: {_UNKNOWN}", Phase.RCPT, _HOST, _UNKNOWN, "5.1.1")
_BUSY = Deferral(f"{_HOST} said: {_FULL}", Phase.RCPT, host=_HOST, reply=_FULL, enhanced="4.2.2")
_SILENT = Deferral(f"cannot connect to {_HOST}: timed out", Phase.CONNECT)

_TEXTS = """\
## The texts for people

`bounce.languages` says in which languages, one below the other; English (`en`) and German (`de`) ship. A file
`LANGUAGE/NAME.txt` below the directory `bounce.templates` replaces the text of that name, and a folder with all of
them adds a language. A text is paragraphs with blank lines between, wrapped when it is sent; `$name` is filled in,
`$$` is a dollar sign. All but `opening` and `closing` begin with a line `Subject: ...`, which may have `$whom`, and
have `$recipients` as a paragraph of its own. What is wrong with a text is said at the start.

| file | may have |
|---|---|
"""

# title -> (why it is sent, the recipient and what became of it)
_KINDS: Mapping[str, tuple[str, ReportedRecipient]] = {
    "Failed": (
        "A host refused the recipient for good. The original goes along, unless it is large or RET=HDRS.",
        ReportedRecipient(_BOB, Action.FAILED, _REFUSED, _ARRIVED + 60),
    ),
    "Expired": (
        "All attempts were in vain, and the lifetime is over.",
        ReportedRecipient(_BOB, Action.FAILED, _SILENT, _ARRIVED + 432_000),
    ),
    "Delayed": (
        "The first attempt that fails `queue.delay_notice` after the arrival tells the sender, once.",
        ReportedRecipient(_BOB, Action.DELAYED, _BUSY, _ARRIVED + 14_400, _ARRIVED + 432_000),
    ),
    "Delivered": (
        "NOTIFY=SUCCESS asked for it, and the message is in a mailbox.",
        ReportedRecipient(_BOB, Action.DELIVERED, Delivered("mail/bob/Maildir"), _ARRIVED + 1),
    ),
    "Relayed": (
        "NOTIFY=SUCCESS asked for it, and the next hop does not know DSN.",
        ReportedRecipient(
            _BOB, Action.RELAYED, Delivered(_HOST, _TAKEN, Phase.END_OF_DATA, Handover.RELAYED), _ARRIVED + 1
        ),
    ),
    "Expanded": (
        "NOTIFY=SUCCESS asked for it, and the address is an alias for several.",
        ReportedRecipient(_BOB, Action.EXPANDED),
    ),
}


def sample(
    reported: ReportedRecipient,
    message: ReportedMessage = _MESSAGE,
    languages: tuple[str, ...] = ("en",),
    *,
    is_double: bool = False,
    original: bytes = _ORIGINAL,
) -> bytes:
    """One report, on an invented message."""
    made = report(
        reporting_mta="mx.example.org",
        report_id="06ABCDEFGHJKN",
        report_from=Address("postmaster", "mx.example.org"),
        to=message.sender or Address("postmaster", "example.org"),
        now=reported.attempted or _ARRIVED,
        message=message,
        recipients=[reported],
        original=OriginalContent(original, reported.action is Action.FAILED),
        languages=load(languages),
        is_double=is_double,
    )
    return made.data


def _texts() -> str:
    """What an operator may replace."""
    rows = [f"| `{name}.txt` | {' '.join(f'`${each}`' for each in sorted(known))} |" for name, known in NAMES.items()]
    return _TEXTS + "\n".join(rows) + "\n"


def page() -> str:
    """The Markdown page."""
    samples = {title: (why, sample(reported)) for title, (why, reported) in _KINDS.items()}
    failed = _KINDS["Failed"][1]
    samples["Double bounce"] = (
        "A report could not be delivered: `bounce.double_bounce` gets it, where it is set.",
        sample(failed, replace(_MESSAGE, sender=None, envid=""), is_double=True),
    )
    jose = Recipient(Address("josé", "example.net"), None, "utf-8;josé@example.net")
    refused = replace(failed, recipient=jose)
    samples["International recipient, in two languages"] = (
        "The message came with SMTPUTF8, but its sender's address is ASCII: the report has 7 bits (RFC 6533 3, 4.1). "
        '`bounce.languages` is `["en", "de"]`.',
        sample(refused, languages=("en", "de"), original=_INTERNATIONAL),
    )
    ursula = replace(_MESSAGE, sender=Address("ürsula", "example.org"))
    samples["International sender"] = (
        "The sender's address is not ASCII: only a server with SMTPUTF8 can take the report, and so it is in UTF-8.",
        sample(refused, ursula, original=_INTERNATIONAL),
    )
    sections = [
        "# Delivery status notifications\n\n"
        "One of each kind, as they leave; `python -m mta.message.dsn_samples` writes this page.\n",
        _texts(),
    ]
    for title, (why, wire) in samples.items():
        text = wire.decode("utf-8").replace("\r\n", "\n")
        sections.append(f"## {title}\n\n{why}\n\n```\n{text}```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode("utf-8"))
