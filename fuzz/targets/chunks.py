"""
Content in chunks (BDAT): what a client of ours sends is decoded to the same, at every cut.

And any bytes behind BDAT decode to the same at every cut, whatever the sizes of the chunks; no more than one octet is
held back.
"""

from __future__ import annotations

from fuzz.input import cut, options, segmentations, text
from mta.smtp.bdat import ChunkDecoder
from mta.smtp.client_content import Chunks
from mta.smtp.commands import Bdat, read_bdat
from mta.smtp.content import with_crlf


def _decoded(chunks: list[tuple[Bdat, list[bytes]]], binary: bool, normalize: bool) -> tuple[bytes, bool, bool]:
    """The content of chunks, each of them with the pieces that its octets come in."""
    decoder = ChunkDecoder(binary, normalize, text_line=100)
    content = b""
    for chunk, pieces in chunks:
        decoder.begin(chunk.size, chunk.last)
        for piece in pieces or [b""]:
            assert not decoder.finished or not chunk.size
            content += decoder.feed(piece)
            assert len(decoder._held) <= 1, decoder._held
        assert decoder.finished, chunk
        assert not decoder.rest, decoder.rest
    return content, decoder.bare_newlines, decoder.long_line


def _from_wire(wire: bytes) -> list[tuple[Bdat, bytes]]:
    """The chunks that a client has sent."""
    chunks: list[tuple[Bdat, bytes]] = []
    while wire:
        line, _, wire = wire.partition(b"\r\n")
        assert line.startswith(b"BDAT "), line
        chunk = read_bdat(line[5:].decode("ascii"))
        assert chunk is not None, line
        assert not (chunks and chunks[-1][0].last), "a chunk behind the last"
        chunks.append((chunk, wire[: chunk.size]))
        assert len(wire) >= chunk.size, "a chunk that is too short"
        wire = wire[chunk.size :]
    return chunks


def target(data: bytes) -> None:
    """The first octet is the seed of the cuts, its low bits whether content is binary, or mended."""
    seed, _ = options(data)
    binary, normalize = bool(seed & 1), bool(seed & 2)
    content = text(data)
    chunks = list(cut(content, seed))
    heads = [Bdat(len(chunk), number == len(chunks) - 1) for number, chunk in enumerate(chunks)]
    whole = _decoded([(Bdat(len(content), True), [content])], binary, normalize)
    for number in range(3):
        cuts = [(head, list(cut(chunk, seed + number))) for head, chunk in zip(heads, chunks, strict=True)]
        assert not cuts or _decoded(cuts, binary, normalize) == whole, (cuts, whole)
    for pieces in segmentations(content, seed):
        client = Chunks(len(content), binary=binary, at_once=binary and bool(seed & 4))
        wire = b"".join(client.feed(piece)[0] for piece in pieces) + client.finish()[0]
        assert client.is_complete
        sent = _from_wire(wire)
        assert sent[-1][0].last
        found, bare, _ = _decoded([(chunk, [octets]) for chunk, octets in sent], binary, normalize=False)
        assert found == (content if binary else with_crlf(content)), (content, found)
        assert not bare, content
