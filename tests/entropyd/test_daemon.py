"""entropyd as a process: settings, faults at start, open routes, restart, end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from autoresearch.entropy.v1 import entropy_pb2 as pb

from entropyd.daemon import serve
from entropyd.records.receipts import check_chain
from entropyd.records.state_store import StateStore
from entropyd.settings import EntropydSettings
from services.addresses import parse_address
from services.entropy_client import EntropyClient
from services.errors import ConfigurationError, UnauthenticatedError, UnavailableError
from services.security import ClientSecurity
from services.settings import load_settings
from tests.entropyd.http_side import ask

TOKEN = "0123456789abcdef0123456789abcdef"


def get(address: str, path: str, token: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://{address}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def run_and_fail(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """The one line on stderr of a daemon that must not start."""
    command = [sys.executable, "-m", "entropyd", *arguments]
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "radio:"], "'radio:' is not known"),
        (["--source", "file:"], "names no file"),
        (
            ["--source", "file:missing.iq"],
            "'missing.iq': No such file or directory; name another, or use os:",
        ),
        (["--source", "file:pyproject.toml"], "bytes; one chunk needs 262144; name another"),
        (["--source", "rtl_tcp://"], "is not HOST:PORT"),
        (["--source", "rtl_tcp://host:port"], "port in 'host:port'"),
        (["--source", "http://"], "is not http://HOST:PORT"),
        (["--source", "http://host:99999"], "is not http://HOST:PORT"),
        (["--source", "http://user:secret@host"], "--source-token-file"),
        (["--frequency", "12"], "--frequency"),
        (["--chunk-bytes", "40000"], "--chunk-bytes"),
        (["--http-policy", "maybe"], "--http-policy"),
        (["--listen", "nowhere"], "--listen: 'nowhere' is not HOST:PORT"),
        (["--listen", "0.0.0.0:0"], "--listen: 0.0.0.0:0 can be reached from other machines"),
        (["--http-listen", "0.0.0.0:0"], "--http-listen: 0.0.0.0:0 can be reached"),
        (["--http-listen", "0.0.0.0:0", "--listen", "0.0.0.0:0", "--http-open"], "--listen"),
        (["--state", "/dev/null/x"], "--state"),
    ],
)
def test_wrong_settings_say_which_and_why(arguments: list[str], words: str) -> None:
    base = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
    base += [] if "--http-listen" in arguments else ["--http-listen", "127.0.0.1:0"]
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(serve(load_settings(EntropydSettings, [*base, *arguments], {})))
    assert words in str(caught.value)


def test_a_start_that_fails_is_one_line_and_exit_code_2() -> None:
    assert "'radio:' is not known" in run_and_fail("--source", "radio:")
    assert "--log-level" in run_and_fail("--log-level", "loud")


def test_a_taken_port_is_named(daemon) -> None:
    with daemon("--source", "os:") as running:
        line = run_and_fail("--source", "os:", "--listen", running.grpc, "--http-listen", "127.0.0.1:0")
        assert f"cannot bind {running.grpc}" in line


def test_an_unknown_environment_name_is_refused() -> None:
    line = run_and_fail(environment={"AUTORESEARCH_ENTROPYD_SORCE": "os:"})
    assert "AUTORESEARCH_ENTROPYD_SORCE" in line


async def test_draws_health_and_end(daemon, tmp_path: Path) -> None:
    with daemon("--source", "os:", "--state", str(tmp_path / "state")) as running:
        async with EntropyClient(running.grpc) as client:
            answer = await client.draw(8, purpose="seed")
            assert answer.provenance.source == pb.SOURCE_OS
            with pytest.raises(UnavailableError):
                await client.draw(8, purpose="seed", policy=pb.DRAW_POLICY_REFUSE)
            watch = client.watch_health(timeout=60)
            assert (await anext(watch)).health.state == pb.HEALTH_STATE_ABSENT
            assert get(running.http, "/healthz")[0] == 200
            assert b"entropyd_draws_total" in get(running.http, "/metrics")[1]
            # An open watch and an open stream do not hold up the end.
            host, port = running.http.split(":")
            stream = socket.create_connection((host, int(port)), timeout=5)
            stream.sendall(b"GET /api/entropy/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in stream.recv(1024)
            assert running.stop(5.0) == 0
            stream.close()
            await watch.aclose()
    assert "Traceback" not in running.log.read_text()


async def test_kill_and_restart_keep_key_chain_and_seeds(daemon, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with daemon("--source", "os:", "--state", state) as running:
        async with EntropyClient(running.grpc) as client:
            pack = await client.commit_seed_pack("p", "s", 6)
            first = await client.reveal_seeds("p", "s", 0, 3)
            last = (await client.draw(8, purpose="last")).receipt
            running.process.send_signal(signal.SIGKILL)
            running.process.wait(5)
    with daemon("--source", "os:", "--state", state) as running:
        async with EntropyClient(running.grpc) as client:
            assert await client.commit_seed_pack("p", "s", 6) == pack
            assert await client.reveal_seeds("p", "s", 0, 3) == first
            assert (await client.verify_receipt(pb.VerifyReceiptRequest(receipt=last))).valid
            following = (await client.draw(8, purpose="next")).receipt
            expected = hashlib.sha256(last.statement.encode() + last.signature).digest()
            assert following.previous_hash == expected


async def test_a_token_guards_grpc_and_http_but_not_the_open_routes(daemon, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    with daemon("--source", "os:", "--token-file", str(secret)) as running:
        assert get(running.http, "/api/entropy")[0] == 401
        assert get(running.http, "/api/entropy", TOKEN)[0] == 200
        async with EntropyClient(running.grpc) as client:
            with pytest.raises(UnauthenticatedError):
                await client.draw(8, purpose="x")
        async with EntropyClient(running.grpc, security=ClientSecurity(token=TOKEN)) as client:
            assert not any("--http-open" in line for line in (await client.status()).warnings)
    with daemon("--source", "os:", "--token-file", str(secret), "--http-open") as running:
        for path in ("/api/entropy", "/api/time", "/api/status", "/healthz"):
            assert get(running.http, path)[0] == 200
        assert get(running.http, "/metrics")[0] == 401
        assert get(running.http, "/other")[0] == 401
        async with EntropyClient(running.grpc) as client:
            with pytest.raises(UnauthenticatedError):  # gRPC never opens
                await client.status()
        async with EntropyClient(running.grpc, security=ClientSecurity(token=TOKEN)) as client:
            assert any("--http-open" in line for line in (await client.status()).warnings)
    assert "--http-open" in running.log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="uses another loopback address as another machine")
def test_http_open_shows_other_machines_the_compatible_routes_and_nothing_else(daemon) -> None:
    with daemon("--source", "os:", "--http-open", "--http-listen", "0.0.0.0:0") as running:
        port = int(running.http.rpartition(":")[2])

        def get_from_elsewhere(path: str) -> int:
            with socket.create_connection(("127.0.0.1", port), 5, source_address=("127.0.0.2", 0)) as link:
                link.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return int(link.recv(4096).split()[1])

        for path in ("/api/entropy", "/api/entropy?bytes=8", "/api/time", "/api/status", "/healthz"):
            assert get_from_elsewhere(path) == 200
        for path in ("/metrics", "/", "/api/entropyx", "/api/receipts"):
            assert get_from_elsewhere(path) == 401


def test_neither_torch_nor_gpl_code_is_imported(tmp_path: Path) -> None:
    """Of any module of the daemon; the reader's process loads the library when it starts."""
    code = (
        "import importlib, pkgutil, sys, entropyd\n"
        "for module in pkgutil.walk_packages(entropyd.__path__, 'entropyd.'):\n"
        "    importlib.import_module(module.name)\n"
        "bad = {'torch', 'rtlsdr', 'pyrtlsdrlib', 'scipy'} & set(sys.modules)\n"
        "print(sorted(bad))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_help_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entropyd", "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    for word in ("--source", "--http-open", "rtl_tcp://HOST:PORT", "assess"):
        assert word in done.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_ten_thousand_draws_without_a_dongle_are_all_called_os_everywhere(
    daemon, tmp_path: Path
) -> None:
    """In the gRPC answer, its receipt, the JSON, the headers, the status and the metrics."""
    state = tmp_path / "state"
    with daemon("--source", "auto", "--usb-devices", str(tmp_path), "--state", str(state)) as running:
        address = parse_address(running.http)
        async with EntropyClient(running.grpc) as client:

            async def draw_some(count: int) -> None:
                for number in range(count):
                    pool = (pb.POOL_FULL, pb.POOL_DRBG)[number % 2]
                    answer = await client.draw(8, purpose="check", pool=pool)
                    assert answer.provenance.source == pb.SOURCE_OS
                    assert answer.provenance.claimed_min_entropy_bits == 0.0
                    assert json.loads(answer.receipt.statement)["source"] == "os"

            async def ask_some(count: int) -> None:
                for _ in range(count):
                    answer = await ask(address, "/api/entropy?bytes=8")
                    assert json.loads(answer.body)["source"] == "os"
                    assert answer.headers["x-entropy-source"] == "os"

            await asyncio.gather(*(draw_some(900) for _ in range(10)), *(ask_some(250) for _ in range(4)))
            status = await client.status()
        metrics = get(running.http, "/metrics")[1].decode()
    assert status.fallback_draws_total == 10_000
    assert 'entropyd_draws_total{source="os"} 10000.0' in metrics
    assert 'entropyd_draws_total{source="radio"} 0.0' in metrics
    with StateStore(state) as store:
        receipts = store.receipts(20_000)
    assert len(receipts) == 10_000
    assert {json.loads(receipt.statement)["source"] for receipt in receipts} == {"os"}
    assert check_chain(receipts) == ""
