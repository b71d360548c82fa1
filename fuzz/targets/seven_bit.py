"""
Any message made fit for 7 bits: pure ASCII or a `ConversionError`; quoted-printable decodes to what was encoded.

What has 7 bits already stays as it is; a converted message is not converted again.
"""

from __future__ import annotations

import quopri

from fuzz.input import text
from mta.message.headers import field, header_block
from mta.message.quoted_printable import ConversionError, encoded, to_seven_bit
from mta.smtp.content import with_crlf

# What bytes of this kind are made of; the fuzzer puts them in.
WORDS = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n",
    b"Content-Type: multipart/digest; boundary=b\r\n\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: 8bit\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"MIME-Version: 1.0\r\n",
    b"\r\n--b\r\n",
    b"\r\n--b--\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\xc3\xa9",
    b"=",
    b" \r\n",
    b'; boundary="',
)


def target(data: bytes) -> None:
    """The whole input is a message; a part of it is encoded on its own, too."""
    content = with_crlf(text(data))
    quoted = encoded(content)
    assert quoted.isascii()
    assert all(len(line) <= 76 for line in quoted.split(b"\r\n")), quoted
    assert quopri.decodestring(quoted) == content, (content, quoted)
    try:
        converted = to_seven_bit(content)
    except ConversionError as error:
        assert str(error).isascii()
        return
    assert converted.isascii()
    assert to_seven_bit(converted) == converted
    if content.isascii():
        assert converted == content
        return
    header = header_block(converted)
    encoding = field(header, b"content-transfer-encoding")
    assert encoding in ("7bit", "quoted-printable", None), encoding
    if encoding == "quoted-printable":
        body = content[len(header_block(content)) :].removeprefix(b"\r\n")
        decoded = quopri.decodestring(converted[len(header) :].removeprefix(b"\r\n"))
        assert decoded == body, (content, converted)
