"""What another server answers, however the network cuts it into pieces."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from entropyd.settings import EntropydSettings
from entropyd.source import SourceUnavailableError
from entropyd.sources import source_opener
from entropyd.sources.http_source import HttpSource
from services.security import ServerSecurity
from services.settings import load_settings
from tests.services.https_server import https_server
from tests.services.test_credentials import Authority


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


async def test_a_private_authority_is_believed_once_it_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    security = ServerSecurity(None, *authority.issue("server"))
    async with https_server(security, {"entropy_hex": "5a" * 64, "source": "radio"}) as port:
        url = f"https://localhost:{port}"

        async def first(*flags: str) -> bytes:
            settings = load_settings(EntropydSettings, [f"--source={url}", *flags], environment={})
            opener = source_opener(settings.source, settings.tuning(), trust=settings.https_trust())
            async with opener() as source:
                return (await source.read()).data

        with pytest.raises(SourceUnavailableError, match="give that authority's PEM file as --https-ca"):
            await first()
        assert await first(f"--https-ca={authority.ca}") == b"\x5a" * 64
