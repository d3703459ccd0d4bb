"""memoryd calls https servers that a private authority has signed for: store, radio, embedder, MCP."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import StdioServerParameters, stdio_client
from mcp.client.session import ClientSession

from memoryd.composition import build_feed
from memoryd.mcp_tools import FerriculaHttp
from memoryd.settings import MemorydSettings
from services.errors import ConfigurationError, UnavailableError
from services.security import ServerSecurity
from services.settings import load_settings
from tests.memoryd.running import Running, running
from tests.memoryd.test_mcp import call
from tests.services.https_server import https_server
from tests.services.test_credentials import Authority

WAY_OUT = "give that authority's PEM file as --https-ca"


@dataclass
class Remote:
    daemon: Running
    url: str
    authority: Authority

    @property
    def trusting(self) -> str:
        return f"--https-ca={self.authority.ca}"


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Remote]:
    """A memoryd that serves https."""
    authority = Authority(tmp_path / "authority")
    cert, key = authority.issue("server")
    (tmp_path / "remote").mkdir()
    async with running(tmp_path / "remote", f"--tls-cert={cert}", f"--tls-key={key}") as daemon:
        yield Remote(daemon, f"https://localhost:{daemon.url.rpartition(':')[2]}", authority)


async def test_a_remote_store(tmp_path: Path, remote: Remote) -> None:
    backend = f"ferricula+{remote.url}"
    with pytest.raises(UnavailableError, match=WAY_OUT):
        async with running(tmp_path, backend=backend):
            pass
    async with running(tmp_path, remote.trusting, backend=backend) as near:
        await near.rpc.remember("weber force law")
    assert 1 in remote.daemon.engine.store.mirror


@pytest.mark.long
async def test_the_tools_for_models(remote: Remote) -> None:
    untrusting = FerriculaHttp(remote.url)
    assert WAY_OUT in await untrusting.call("GET", "/status")
    await untrusting.close()
    arguments = ["-m", "memoryd", "mcp", "--url", remote.url, remote.trusting]
    parameters = StdioServerParameters(command=sys.executable, args=arguments)
    async with (
        stdio_client(parameters) as streams,
        ClientSession(streams[0], streams[1]) as session,
    ):
        await session.initialize()
        assert "rows=0" in await call(session, "status")


async def test_a_radio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path / "authority")
    security = ServerSecurity(None, *authority.issue("server"))
    async with https_server(security, {"entropy_hex": "ab" * 64, "source": "radio"}) as port:
        flags = [f"--radio-url=https://localhost:{port}"]
        async with build_feed(load_settings(MemorydSettings, flags, environment={})) as feed:
            assert [await feed.fetch(64), await feed.fetch(64)] == [None, None]
        (complaint,) = [one.getMessage() for one in caplog.records if WAY_OUT in one.getMessage()]
        assert complaint.startswith("--radio-url: https://localhost:")
        flags.append(f"--https-ca={authority.ca}")
        async with build_feed(load_settings(MemorydSettings, flags, environment={})) as feed:
            deposit = await feed.fetch(64)
    assert deposit is not None
    assert (deposit.data, deposit.source) == (b"\xab" * 64, "radio")


async def test_an_embedder(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    security = ServerSecurity(None, *authority.issue("server"))
    async with https_server(security, {"embedding": [1.0, 2.0]}) as port:
        flag = f"--embedder=https://localhost:{port}"
        async with running(tmp_path, flag) as memoryd:
            await memoryd.rpc.remember("weber force law")
            assert any(WAY_OUT in line for line in (await memoryd.rpc.status()).warnings)
        async with running(tmp_path, flag, f"--https-ca={authority.ca}") as memoryd:
            await memoryd.rpc.remember("quantum wave")
            assert (await memoryd.rpc.inspect(2)).vector_dimension == 2


async def test_a_file_that_is_no_authority_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    for name, message in (("no.pem", "holds no certificate in PEM form"), ("gone.pem", "cannot read")):
        with pytest.raises(ConfigurationError, match=f"--https-ca: .*{message}|--https-ca: {message}"):
            async with running(tmp_path, f"--https-ca={tmp_path / name}"):
                pass
