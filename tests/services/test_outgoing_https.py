"""Certificates of https servers that a daemon calls: believed, refused with the way out, shown when asked."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from services.errors import ConfigurationError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust, explain_https, https_trust
from services.security import ServerSecurity
from tests.services.https_server import https_server
from tests.services.test_credentials import Authority


async def failure(url: str, trust: HttpsTrust) -> str | None:
    """What a failed call means; the call must fail."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        with pytest.raises(aiohttp.ClientError) as caught:
            async with session.get(url, ssl=trust) as response:
                await response.read()
    return explain_https(caught.value, url)


async def succeeds(url: str, trust: HttpsTrust) -> bool:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        async with session.get(url, ssl=trust) as response:
            return response.status == 200


async def test_a_private_authority_is_believed_once_it_is_named(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with https_server(ServerSecurity(None, *ours.issue("server"))) as port:
        url = f"https://localhost:{port}"
        for trust in (SYSTEM_TRUST, https_trust(theirs.ca)):
            assert "give that authority's PEM file as --https-ca" in str(await failure(url, trust))
        assert await succeeds(url, https_trust(ours.ca))
        wrong_name = await failure(f"https://127.0.0.1:{port}", https_trust(ours.ca))
        assert "for another host" in str(wrong_name)
    async with https_server(ServerSecurity(None, *ours.issue("late", days=-1))) as port:
        assert "has expired" in str(await failure(f"https://localhost:{port}", https_trust(ours.ca)))


async def test_a_server_that_asks_for_a_certificate_gets_one(tmp_path: Path) -> None:
    ours = Authority(tmp_path / "ours")
    async with https_server(ServerSecurity(None, *ours.issue("server"), ours.ca)) as port:
        url = f"https://localhost:{port}"
        assert "give --https-cert and --https-key" in str(await failure(url, https_trust(ours.ca)))
        assert await succeeds(url, https_trust(ours.ca, *ours.issue("client")))


async def test_other_failures_are_none_of_tls(tmp_path: Path) -> None:
    assert await failure("https://127.0.0.1:9", SYSTEM_TRUST) is None
    async with https_server(ServerSecurity()) as port:
        assert "TLS failed" in str(await failure(f"https://localhost:{port}", SYSTEM_TRUST))
    async with https_server(ServerSecurity(None, *Authority(tmp_path / "ours").issue("server"))) as port:
        assert await failure(f"http://localhost:{port}", SYSTEM_TRUST) is None


def test_files_that_are_no_use_are_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("not a certificate")
    cert, key = Authority(tmp_path / "ours").issue("client")
    assert https_trust(None) is SYSTEM_TRUST
    for files, message in (
        ((tmp_path / "gone.pem",), "--https-ca: cannot read .*gone.pem: No such file"),
        ((tmp_path / "no.pem",), "--https-ca: .*no.pem holds no certificate in PEM form"),
        ((None, cert), "--https-cert and --https-key belong together"),
        ((None, cert, cert), "--https-cert, --https-key: .* are not a certificate and its unlocked key"),
        ((None, cert, tmp_path / "gone.key"), "--https-key: cannot read"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            https_trust(*files)
    assert https_trust(None, cert, key) is not SYSTEM_TRUST
