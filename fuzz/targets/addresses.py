"""
Any text as an address, a path or an encoded parameter: read back the same after it is written, or refused for a reason.
"""

from __future__ import annotations

from collections.abc import Callable

from fuzz.input import options, text
from mta import xtext
from mta.address import (
    MAX_DOMAIN,
    MAX_LOCAL,
    MAX_PATH,
    AddressError,
    parse_address,
    parse_domain,
    parse_forward_path,
    parse_reverse_path,
)
from mta.envelope import Recipient
from mta.message.trace import return_path
from mta.smtp.capabilities import Capabilities
from mta.smtp.commands import read_mail, read_rcpt
from mta.smtp.dsn_parameters import read_envid, read_notify, read_orcpt, read_ret
from mta.smtp.envelope_commands import rcpt_command

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"@",
    b".",
    b'"',
    b"\\",
    b"<",
    b">",
    b"@a,@b:",
    b"[192.0.2.1]",
    b"[IPv6:::1]",
    b"postmaster",
    b"a@b.test",
    b"xn--",
    b"\xc3\xa9",
    b"\xe3\x80\x82",
    b"\xc3\x9f",
    b"+2B",
    b"\\x{E9}",
    b"rfc822;",
    b"utf-8;",
    b"NEVER",
    b"SUCCESS,DELAY",
    b"FULL",
    b" SIZE=1",
    b" BODY=8BITMIME",
    b" SMTPUTF8",
    b" NOTIFY=NEVER",
    b" ORCPT=utf-8;",
    b" ENVID=",
)


def _is_fit_for_a_reply(error: Exception) -> None:
    assert str(error)
    assert str(error).isprintable(), str(error)


def _addresses(word: str, utf8: bool) -> None:
    try:
        address = parse_address(word, utf8=utf8)
    except AddressError as error:
        _is_fit_for_a_reply(error)
    else:
        assert parse_address(str(address), utf8=utf8) == address, address
        assert len(str(address).encode()) <= MAX_PATH + 64, address  # RFC 5321 4.5.3.1.3 counts what came
        assert 0 < len(address.local.encode()) <= MAX_LOCAL, address
        assert address.domain.isascii(), address
        assert len(address.domain) <= MAX_DOMAIN, address
        assert address.for_log().isascii()
        assert address.for_log().isprintable()
        assert return_path(address).count(b"\n") == 1
        assert utf8 or not address.needs_utf8
        line = rcpt_command(Recipient(address), Capabilities(smtputf8=True, dsn=True))
        assert line is None or line.count(b"\r\n") == line.count(b"\r") == line.count(b"\n") == 1, line
        assert line is not None, address
        found = parse_forward_path(f"<{address}>", "own.test", utf8=utf8)
        assert found == (address, ""), (address, found)
    try:
        domain = parse_domain(word, utf8=utf8)
    except AddressError as error:
        _is_fit_for_a_reply(error)
    else:
        assert parse_domain(domain) == domain, domain
    for path in (word, f"<{word}>"):
        try:
            parse_reverse_path(path, utf8=utf8)
            parse_forward_path(path, "own.test", utf8=utf8)
        except AddressError as error:
            _is_fit_for_a_reply(error)


def _round_trip(word: str) -> None:
    assert xtext.decode(xtext.encode(word)) == word
    assert xtext.decode_utf8(xtext.encode_utf8(word)) == word
    assert xtext.encode(word).isascii()
    assert xtext.encode_utf8(word).isascii()


def _refuses(read: Callable[[str], object], word: str) -> None:
    try:
        read(word)
    except ValueError as error:
        assert str(error)


def target(data: bytes) -> None:
    """The lowest bit of the first octet is SMTPUTF8; the rest is the text, in UTF-8 as a command brings it."""
    chosen, data = options(data)
    utf8 = bool(chosen & 1)
    word = text(data).decode("utf-8", "surrogateescape")
    _addresses(word, utf8)
    if word.isprintable():
        _round_trip(word)
    for read in (xtext.decode, xtext.decode_utf8, read_envid, read_notify, read_ret):
        _refuses(read, word)
    _refuses(lambda each: read_orcpt(each, utf8), word)
    for verb, read_command in (("FROM:", read_mail), ("TO:", lambda each, ext: read_rcpt(each, "own.test", ext, utf8))):
        for extended in (False, True):
            assert read_command(word, extended) is not None
            assert read_command(verb + word.rstrip(" \t"), extended) is not None  # `split_command` strips an argument
