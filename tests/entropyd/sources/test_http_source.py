"""What another server answers, however the network cuts it into pieces."""

from __future__ import annotations

import asyncio
import json

from entropyd.sources.http_source import HttpSource


async def test_an_answer_that_comes_in_pieces_is_read_whole() -> None:
    body = json.dumps({"entropy_hex": "5a" * 4096, "source": "radio"}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (head, body[:1400], body[1400:2800], body[2800:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # the client must see them apart
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, HttpSource(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as source:
        chunk = await source.read()
    assert chunk.data == b"\x5a" * 4096
    assert chunk.statement is not None
    assert chunk.statement.source == "radio"
