"""entropyd on a host of its own: two network namespaces joined by a cable that can be cut, mutual TLS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
RADIO, LAB = "10.77.31.2", "10.77.31.1"
TARGET = f"{RADIO}:50051"
CLIENT = """
import asyncio, sys
from pathlib import Path
from services.entropy_client import EntropyClient
from services.errors import ServiceError
from services.security import ClientSecurity
target, folder, kind = sys.argv[1:]
folder = Path(folder)
token = (folder / "token").read_text().strip()
security = {
    "good": ClientSecurity(token, folder / "ca.pem", folder / "client.pem", folder / "client.key"),
    "no-certificate": ClientSecurity(token, folder / "ca.pem"),
    "no-token": ClientSecurity(None, folder / "ca.pem", folder / "client.pem", folder / "client.key"),
    "plain": ClientSecurity(token),
    "other-authority": ClientSecurity(
        token, folder / "other/ca.pem", folder / "other/client.pem", folder / "other/client.key"
    ),
}[kind]
async def main():
    async with EntropyClient(target, security=security, timeout=4.0) as client:
        try:
            answer = await client.draw(8, purpose="two hosts")
        except ServiceError as error:
            print(type(error).__name__)
        else:
            print(len(answer.entropy), answer.provenance.source)
asyncio.run(main())
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def cable() -> Iterator[None]:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux, root and iproute2")
    for name in ("ar-radio", "ar-lab"):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    try:
        run("ip", "netns", "add", "ar-radio")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        run("ip", "netns", "add", "ar-lab")
        run(
            "ip",
            "link",
            "add",
            "ar-r",
            "netns",
            "ar-radio",
            "type",
            "veth",
            "peer",
            "name",
            "ar-l",
            "netns",
            "ar-lab",
        )
        for space, link, address in (("ar-radio", "ar-r", RADIO), ("ar-lab", "ar-l", LAB)):
            run("ip", "-n", space, "address", "add", f"{address}/30", "dev", link)
            run("ip", "-n", space, "link", "set", link, "up")
            run("ip", "-n", space, "link", "set", "lo", "up")
        yield
    finally:
        for name in ("ar-radio", "ar-lab"):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs") / "ours"
    for place in (folder, folder / "other"):
        run(sys.executable, "-P", "-m", "agent.cli", "certs", "--out", str(place), "--host", RADIO)
    return folder


@contextmanager
def entropyd(folder: Path) -> Iterator[None]:
    command = ["ip", "netns", "exec", "ar-radio", sys.executable, "-P", "-m", "entropyd", "--source", "os:"]
    command += ["--listen", TARGET, "--http-listen", "127.0.0.1:0", "--token-file", str(folder / "token")]
    command += ["--tls-cert", str(folder / "entropyd.pem"), "--tls-key", str(folder / "entropyd.key")]
    command += ["--tls-client-ca", str(folder / "ca.pem")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["grpc"] == TARGET
        yield
        process.terminate()


def draw(folder: Path, kind: str = "good") -> str:
    command = ["ip", "netns", "exec", "ar-lab", sys.executable, "-c", CLIENT, TARGET, str(folder), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_another_host_draws_through_mutual_tls_and_survives_a_cut_cable(
    cable: None, certificates: Path
) -> None:
    with entropyd(certificates):
        assert draw(certificates) == "8 2"
        run("ip", "-n", "ar-radio", "link", "set", "ar-r", "down")
        assert draw(certificates) in ("UnavailableError", "DeadlineExceededError")
        run("ip", "-n", "ar-radio", "link", "set", "ar-r", "up")
        assert draw(certificates) == "8 2"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no-token", "UnauthenticatedError"),
        ("no-certificate", "UnavailableError"),
        ("plain", "UnavailableError"),
        ("other-authority", "UnavailableError"),
    ],
)
def test_bad_credentials_are_refused(cable: None, certificates: Path, kind: str, expected: str) -> None:
    with entropyd(certificates):
        assert draw(certificates, kind) == expected


def test_without_credentials_it_does_not_listen_to_other_hosts(cable: None) -> None:
    command = ["ip", "netns", "exec", "ar-radio", sys.executable, "-P", "-m", "entropyd", "--listen", TARGET]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"--listen: {TARGET} can be reached from other machines" in done.stderr
