"""Certificates made by `autoresearch certs` carry real mutual TLS between a client and a server."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509

from services.agent_client import AgentClient
from services.errors import UnavailableError
from services.security import ClientSecurity, ServerSecurity
from tests.agent.cli.command import run_command
from tests.agent.cli.scripted_agentd import ScriptedAgent, serve_agent


async def make(folder: Path, *flags: str) -> None:
    result = await run_command("certs", "--out", str(folder), *flags)
    assert result.code == 0, result.err


async def test_a_private_ca_joins_clients_and_daemons(tmp_path: Path) -> None:
    await make(tmp_path / "ours", "--host", "gpu.lan", "--host", "10.0.0.7")
    await make(tmp_path / "theirs")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    server = ServerSecurity(None, ours / "agentd.pem", ours / "agentd.key", ours / "ca.pem")
    async with serve_agent(ScriptedAgent(), server) as address:
        mine = ClientSecurity(None, ours / "ca.pem", ours / "client.pem", ours / "client.key")
        async with AgentClient(address, security=mine) as client:
            assert len(await client.list_sessions()) == 1
        stranger = ClientSecurity(None, ours / "ca.pem", theirs / "client.pem", theirs / "client.key")
        unarmed = ClientSecurity(None, ours / "ca.pem")
        deceived = ClientSecurity(None, theirs / "ca.pem", ours / "client.pem", ours / "client.key")
        for security in (stranger, unarmed, deceived, None):
            async with AgentClient(address, security=security, timeout=3.0) as client:
                with pytest.raises(UnavailableError):
                    await client.list_sessions()
        flags = (
            "--ca",
            str(ours / "ca.pem"),
            "--cert",
            str(ours / "client.pem"),
            "--key",
            str(ours / "client.key"),
        )
        assert (await run_command("run", "--agent", address, *flags)).code == 0


async def test_names_and_purposes_are_in_the_certificates(tmp_path: Path) -> None:
    await make(tmp_path, "--host", "gpu.lan", "--host", "10.0.0.7", "--days", "30")
    trainer = x509.load_pem_x509_certificate((tmp_path / "trainerd.pem").read_bytes())
    names = trainer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"trainerd", "localhost", "gpu.lan"}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "::1", "10.0.0.7"}
    lifetime = trainer.not_valid_after_utc - trainer.not_valid_before_utc
    assert lifetime.days == 30
    constraints = trainer.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca


async def test_keys_and_token_are_private_and_never_printed(tmp_path: Path) -> None:
    result = await run_command("certs", "--out", str(tmp_path), "--json")
    listed = {Path(name) for name in json.loads(result.out)["files"]}
    assert listed == set(tmp_path.iterdir()) - {tmp_path / "ca.key"}
    for path in tmp_path.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.suffix == ".key" or path.name == "token":
            assert mode == 0o600, path
    assert len((tmp_path / "token").read_text().strip()) == 64
    assert (tmp_path / "token").read_text().strip() not in result.out + result.err


async def test_renewal_keeps_the_ca_and_the_token(tmp_path: Path) -> None:
    await make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    refused = await run_command("certs", "--out", str(tmp_path))
    assert refused.code == 3
    assert "--renew" in refused.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    await make(tmp_path, "--renew")
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] == after[name]} == {"ca.pem", "ca.key", "token"}


@pytest.mark.parametrize("host", ["", "a b", "http://x", "-x"])
async def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    result = await run_command("certs", "--out", str(tmp_path / "c"), f"--host={host}")
    assert result.code == 2
    assert "--host" in result.err
    assert not (tmp_path / "c").exists()
