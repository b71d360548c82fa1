"""
Make a message fit for a server that lacks an extension.

Owns: what is done with 8-bit or binary content for a server without 8BITMIME or BINARYMIME, and when a
header needs SMTPUTF8.
Never: speaks with the server; changes a message that can go as it is.
Fails: with what the content fails with where it can't be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mta.delivery.content import ContentReader, WholeContent
from mta.envelope import Body, Envelope
from mta.interfaces import IContent
from mta.message.headers import MAX_HEADERS, header_block
from mta.message.quoted_printable import ConversionError, to_seven_bit
from mta.outcome import Failure, Phase
from mta.smtp.capabilities import Capabilities

EightBit = Literal["send", "bounce", "convert"]

# A conversion holds the message in memory twice. Larger ones are few, and so are servers without 8BITMIME: what is both
# goes back to its sender.
MAX_CONVERTED = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fitted:
    """What goes to the server."""

    envelope: Envelope
    content: IContent


async def fitted(
    envelope: Envelope, content: IContent, offers: Capabilities, eight_bit: EightBit, host: str
) -> Fitted | Failure:
    """The message as a server with `offers` may have it, or why it may not; `host` is its name in the reason."""
    if envelope.utf8 and not offers.smtputf8 and not (await _start_of(content)).isascii():
        # RFC 6531 3.2, 3.5: never without the extension, and nothing may be downgraded.
        reason = f"the header of the message is internationalized, and {host} does not offer SMTPUTF8"
        return Failure(reason, Phase.MAIL, host, enhanced="5.6.7")
    if envelope.body is Body.BINARY_MIME:
        if offers.binary_mime:
            return Fitted(envelope, content)
        # RFC 3030 3: a conversion, or the message goes back; sent as it is, another message could stand in it.
        why = f"binary content, and {host} does not offer BINARYMIME"
        return await _converted(envelope, content, eight_bit, host, why)
    declared_8bit = envelope.body is Body.EIGHT_BIT_MIME and not offers.eight_bit_mime
    if not declared_8bit or eight_bit == "send" or await _is_seven_bit(content):
        return Fitted(envelope, content)
    # RFC 6152 3: a conversion, or the message goes back.
    return await _converted(envelope, content, eight_bit, host, f"8-bit content, and {host} does not offer 8BITMIME")


async def _converted(
    envelope: Envelope, content: IContent, eight_bit: EightBit, host: str, why: str
) -> Fitted | Failure:
    """The message in 7 bits where the policy says so, or its failure: it has `why`."""
    reason = f"the message has {why}"
    if eight_bit == "convert" and content.size <= MAX_CONVERTED:
        try:
            converted = to_seven_bit(await _all_of(content), binary=envelope.body is Body.BINARY_MIME)
            return Fitted(replace(envelope, body=Body.SEVEN_BIT), WholeContent(converted))
        except ConversionError as error:
            reason = f"{reason}; it can't be converted: {error}"
    return Failure(reason, Phase.MAIL, host, enhanced="5.6.3")


async def _start_of(content: IContent) -> bytes:
    """The header section."""
    start = content.whole()
    if start is None:
        start, reader = b"", ContentReader(content)
        while len(start) < MAX_HEADERS and (chunk := await reader.next_chunk()):
            start += chunk
    return header_block(start)


async def _is_seven_bit(content: IContent) -> bool:
    """Whether it has no octet above 127, whatever was declared of it."""
    whole = content.whole()
    if whole is not None:
        return whole.isascii()
    reader = ContentReader(content)
    while chunk := await reader.next_chunk():
        if not chunk.isascii():
            return False
    return True


async def _all_of(content: IContent) -> bytes:
    whole = content.whole()
    if whole is not None:
        return whole
    chunks: list[bytes] = []
    reader = ContentReader(content)
    while chunk := await reader.next_chunk():
        chunks.append(chunk)
    return b"".join(chunks)
