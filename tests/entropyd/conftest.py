"""Parts that several tests start: the daemon as a process, HTTP in this process, the fake library."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

FAKE_SOURCE = Path(__file__).with_name("fake") / "fake_rtlsdr.c"


@dataclass
class RunningDaemon:
    process: subprocess.Popen[str]
    grpc: str
    http: str
    log: Path

    def stop(self, seconds: float = 10.0) -> int:
        self.process.terminate()
        return self.process.wait(seconds)


@contextmanager
def run_daemon(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> Iterator[RunningDaemon]:
    """entropyd with free ports; its log goes to a file in `folder`."""
    log = folder / f"entropyd-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "entropyd", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(30), "no announcement within 30 s"
        line = process.stdout.readline()
        assert line, log.read_text()
        told = json.loads(line)
        yield RunningDaemon(process, told["grpc"], told["http"], log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Callable[..., object]:
    """`with daemon("--source", "os:") as running:` …"""

    def start(*arguments: str, environment: dict[str, str] | None = None) -> object:
        return run_daemon(tmp_path, *arguments, environment=environment)

    return start


@dataclass
class FakeDongle:
    """The fake librtlsdr with the file that steers it."""

    library: Path
    control: Path

    def set(self, mode: str) -> None:
        part = self.control.with_suffix(".part")
        part.write_text(mode)
        part.replace(self.control)

    @property
    def environment(self) -> dict[str, str]:
        return {"FAKE_RTLSDR_CONTROL": str(self.control)}


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the fake librtlsdr needs Linux and a C compiler (apt-get install gcc)")
    folder = tmp_path_factory.mktemp("librtlsdr")
    target = folder / "librtlsdr.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(target), str(FAKE_SOURCE)], check=True, timeout=60)
    return target


@pytest.fixture
def dongle(fake_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDongle:
    fake = FakeDongle(fake_library, tmp_path / "dongle-mode")
    fake.set("ok")
    monkeypatch.setenv("FAKE_RTLSDR_CONTROL", str(fake.control))
    return fake
