"""
Any TXT record and any policy file: a policy that means the same when it is written again, or words fit for a log.

Each of its patterns allows a host, and none allows the empty name.
"""

from __future__ import annotations

from fuzz.input import options, text
from mta.sts_policy import MAX_AGE, Mode
from mta.tls.sts_text import StsTextError, parse_policy, policy_id

# What texts of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"v=STSv1;",
    b" id=",
    b"version: STSv1\n",
    b"mode: enforce\n",
    b"mode: none\n",
    b"mx: a.test\n",
    b"mx: *.a.test\n",
    b"max_age: 86400\n",
    b"\r\n",
)


def target(data: bytes) -> None:
    """The first octet chooses the grammar; the rest is the text."""
    chosen, data = options(data)
    wire = text(data)
    try:
        if chosen % 2:
            found = policy_id([wire])
            assert found is None or (found.isascii() and found.isalnum() and len(found) <= 32), found
            return
        policy = parse_policy(wire, "1")
    except StsTextError as error:
        words = str(error)
        assert words.isascii(), words
        assert words.isprintable(), words
        assert len(words) < 500, words
        return
    assert 0 <= policy.max_age <= MAX_AGE
    assert policy.mx or policy.mode is Mode.NONE
    assert parse_policy(policy.text().encode("ascii"), "1") == policy
    for pattern in policy.mx:
        host = pattern.replace("*", "x", 1)
        assert policy.matches(host), pattern
    assert not policy.matches("")
