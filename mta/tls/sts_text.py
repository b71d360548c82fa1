"""
Read what domains publish for MTA-STS: the TXT record and the policy file.

Owns: the grammars of RFC 8461 3.1 and 3.2, as strict as they are, and the reason why a text is not one.
Never: asks the DNS or a web server.
Fails: `StsTextError`, with a sentence for people; nothing else, whatever the octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mta.sts_policy import MAX_AGE, Mode, StsPolicy, is_pattern

# RFC 8461 3.3 suggests this limit.
MAX_POLICY = 64 * 1024
# What an error quotes of a stranger's text.
_QUOTED = 60

# RFC 8461 3.1: sts-version is case-sensitive; the first field, and so behind it a delimiter.
_VERSION = re.compile(rb"v=STSv1[ \t]*;")
_DELIMITER = re.compile(r"[ \t]*;[ \t]*")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
# Printable ASCII but for "=" and ";".
_FIELD = re.compile(rf"({_NAME})=([!-:<>-~]+)")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")

# RFC 8461 3.2: sts-policy-field; values are printable, with single octets of white space only inside.
_POLICY_FIELD = re.compile(rf"({_NAME}):[ \t]*([^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?)[ \t]*")
_SECONDS = re.compile(r"[0-9]{1,10}")


class StsTextError(ValueError):
    """The text does not follow the grammar; the message says where."""


def policy_id(records: Iterable[object]) -> str | None:
    """
    The id in the TXT records of ``_mta-sts.DOMAIN``; None where no record speaks of MTA-STS.

    Raises `StsTextError` for more than one such record, and for one that is malformed: no policy can be discovered.
    """
    # RFC 8461 3.1: records that don't begin so are discarded before they are counted.
    ours = [record for record in records if isinstance(record, bytes) and _VERSION.match(record)]
    if not ours:
        return None
    if len(ours) > 1:
        raise StsTextError(f"there are {len(ours)} TXT records with v=STSv1, where one may be")
    try:
        text = ours[0].decode("ascii")
    except UnicodeDecodeError:
        raise StsTextError("the TXT record has octets beyond ASCII") from None
    fields = _DELIMITER.split(text)[1:]
    if fields and not fields[-1]:
        fields.pop()  # the record may end with a delimiter
    found: str | None = None
    for field in fields:
        match = _FIELD.fullmatch(field)
        if match is None:
            raise StsTextError(f"the TXT record has {_quoted(field)} where NAME=VALUE is due")
        if match[1] == "id" and found is None:  # of duplicates the first one counts
            found = match[2]
    if found is None:
        raise StsTextError("the TXT record has no id")
    if not _ID.fullmatch(found):
        raise StsTextError(f"the id {_quoted(found)} of the TXT record is not 1 to 32 letters and digits")
    return found


def parse_policy(data: bytes, id_: str) -> StsPolicy:
    """The policy in a file, with the id of the TXT record that led to it. Raises `StsTextError`."""
    if len(data) > MAX_POLICY:
        raise StsTextError(f"the policy has more than {MAX_POLICY} octets")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise StsTextError("the policy is not UTF-8") from None
    fields, patterns = _fields(text)
    if fields.get("version") != "STSv1":
        given = f"version {_quoted(fields['version'])}" if "version" in fields else "no version"
        raise StsTextError(f"the policy has {given} where STSv1 is due")
    mode = _mode(fields.get("mode"))
    if not patterns and mode is not Mode.NONE:
        raise StsTextError(f'the policy has the mode "{mode.value}" and no mx')
    return StsPolicy(mode, patterns, _max_age(fields.get("max_age")), id_)


def _fields(text: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The first value of each field, and all that stand behind mx."""
    # LF or CRLF ends a line, and nothing else does; the last one needs no end.
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    fields: dict[str, str] = {}
    patterns: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        match = _POLICY_FIELD.fullmatch(line.removesuffix("\r"))
        if match is None:
            raise StsTextError(f"line {number} of the policy is {_quoted(line)} where NAME: VALUE is due")
        name, value = match[1], match[2]
        if name != "mx":
            fields.setdefault(name, value)  # RFC 8461 3.2: all entries but the first are ignored
            continue
        pattern = value.lower()
        if not is_pattern(pattern):
            raise StsTextError(f"line {number} of the policy: mx {_quoted(value)} is neither a host name nor *.DOMAIN")
        patterns[pattern] = None
    return fields, tuple(patterns)


def _mode(text: str | None) -> Mode:
    if text is None:
        raise StsTextError("the policy has no mode")
    try:
        return Mode(text)
    except ValueError:
        raise StsTextError(f"the policy has the mode {_quoted(text)}; enforce, testing and none are known") from None


def _max_age(text: str | None) -> int:
    if text is None:
        raise StsTextError("the policy has no max_age")
    if not _SECONDS.fullmatch(text):
        raise StsTextError(f"the max_age {_quoted(text)} of the policy is not a number of seconds")
    # Whoever asks for more than a year gets the year: to refuse would leave the domain without protection.
    return min(int(text), MAX_AGE)


def _quoted(text: str) -> str:
    """A stranger's text for a log: short, printable ASCII."""
    short = text if len(text) <= _QUOTED else text[:_QUOTED] + "..."
    return ascii(short)
