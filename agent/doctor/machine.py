"""Checks of the machine: Python, packages, git, memory, disks, clock, ports."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from agent.doctor.examination import GIB, Check, Finding, Surroundings, error, ok, warn

_AGENT = ("numpy", "git", "optuna", "psutil")
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "agent": _AGENT,
    "lab": (
        *_AGENT,
        *("apsw", "cryptography", "torch", "safetensors", "rustbpe", "tiktoken", "pyarrow", "wordllama"),
    ),
}
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smbfs", "smb3", "fuse.sshfs", "9p", "afs"})
EARLIEST_YEAR = 2025


def check_python(around: Surroundings) -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.maxsize <= 2**32:
        return [error("python", f"Python {version} is a 32-bit build", "install a 64-bit Python")]
    return [ok("python", f"{version} at {sys.executable}")]


def check_packages(around: Surroundings) -> list[Finding]:
    extra = "agent" if around.trainer_is_elsewhere else "lab"
    missing = [name for name in PACKAGES[extra] if importlib.util.find_spec(name) is None]
    findings = [
        error("packages", f"the package {name} is missing", f"install autoresearch-stack[{extra}]")
        for name in missing
    ]
    version = importlib.metadata.version("grpcio")
    if not version.startswith("1.82."):
        findings.append(
            error("packages", f"grpcio {version} leaks abandoned calls", "install grpcio>=1.82.3,<1.83")
        )
    return findings or [ok("packages", f"all of [{extra}], grpcio {version}")]


def check_git(around: Surroundings) -> list[Finding]:
    path = shutil.which("git", path=around.environment.get("PATH", ""))
    if path is None:
        return [error("git", "git is not on PATH", "install git 2.30 or newer")]
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as problem:
        return [error("git", f"{path} does not work: {problem}", "install git 2.30 or newer")]
    found = re.search(r"(\d+)\.(\d+)", output.stdout)
    if found is None or (int(found[1]), int(found[2])) < (2, 30):
        return [error("git", f"{output.stdout.strip()} is too old", "install git 2.30 or newer")]
    return [ok("git", output.stdout.strip())]


def check_memory(around: Surroundings) -> list[Finding]:
    total = psutil.virtual_memory().total
    if total < 3 * GIB:
        return [error("memory", f"{total / GIB:.1f} GiB of memory", "a lab needs at least 3 GiB")]
    return [ok("memory", f"{total / GIB:.1f} GiB, {psutil.cpu_count() or 1} CPU threads")]


def check_folders(around: Surroundings) -> list[Finding]:
    """Whether the lab's and the data's disks can be written, hold enough, and suit SQLite."""
    findings = []
    folders = [("--lab", around.lab)]
    if not around.trainer_is_elsewhere:
        folders.append(("--data", around.data))
    for flag, folder in folders:
        existing = _nearest_existing(folder)
        problem = _try_to_write(existing)
        if problem:
            owner = _owner(existing)
            findings.append(
                error(
                    "folders",
                    f"{flag}: {existing} cannot be written ({problem}{owner})",
                    "change its owner or choose another",
                )
            )
            continue
        free = shutil.disk_usage(existing).free
        if free < around.needed_bytes:
            findings.append(
                error(
                    "disk",
                    f"{flag}: {free / GIB:.1f} GiB free at {existing}",
                    f"free {around.needed_bytes / GIB:.0f} GiB or choose another disk",
                )
            )
        elif free < around.comfortable_bytes:
            findings.append(warn("disk", f"{flag}: only {free / GIB:.1f} GiB free at {existing}"))
        else:
            findings.append(ok("disk", f"{flag}: {free / GIB:.0f} GiB free at {existing}"))
    kind = _file_system(_nearest_existing(around.lab))
    if kind in NETWORK_FILE_SYSTEMS:
        findings.append(
            error(
                "folders",
                f"--lab: {around.lab} lies on {kind}, where SQLite can lose data",
                "use a local disk",
            )
        )
    return findings


def check_clock(around: Surroundings) -> list[Finding]:
    """Whether the clock is plausible, and agrees with the clock of the lab's disk."""
    now = around.now()
    year = time.gmtime(now).tm_year
    if year < EARLIEST_YEAR:
        return [error("clock", f"the clock says {year}", "set it, or start an NTP client")]
    folder = _nearest_existing(around.lab)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            skew = Path(file.name).stat().st_mtime - now
    except OSError:
        return []  # check_folders says so
    newest = max((path.stat().st_mtime for path in _lab_files(around.lab)), default=0.0)
    if newest > now + 60:
        return [
            error(
                "clock",
                f"the lab was written {newest - now:.0f} s in the future: the clock went back",
                "set the clock",
            )
        ]
    if abs(skew) > 5:
        return [
            warn(
                "clock",
                f"the disk of {folder} and this machine differ by {skew:+.0f} s",
                "start an NTP client",
            )
        ]
    return [ok("clock", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))]


def check_ports(around: Surroundings) -> list[Finding]:
    """The default ports, which only `autoresearch up` needs."""
    if around.trainer_is_elsewhere:
        return []
    findings = []
    for name, ports in around.ports.items():
        for port in ports:
            with socket.socket() as probe:
                try:
                    if sys.platform != "win32":
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
                except OSError as problem:
                    why = (
                        "is taken"
                        if problem.errno == errno.EADDRINUSE
                        else f"cannot be bound: {problem.strerror}"
                    )
                    findings.append(
                        warn(
                            "ports",
                            f"port {port} of {name} {why}",
                            "only `autoresearch up` needs it; `run` takes free ports",
                        )
                    )
    return findings or [ok("ports", "the default ports are free")]


def _nearest_existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _try_to_write(folder: Path) -> str:
    if not folder.is_dir():
        return "it is not a folder"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            return ""
    except OSError as problem:
        return problem.strerror or str(problem)


def _owner(path: Path) -> str:
    try:
        return f"; it belongs to {path.owner()}"
    except (KeyError, OSError, NotImplementedError):
        return ""


def _file_system(path: Path) -> str:
    best, kind = "", ""
    for part in psutil.disk_partitions(all=True):
        if path.is_relative_to(part.mountpoint) and len(part.mountpoint) >= len(best):
            best, kind = part.mountpoint, part.fstype
    return kind


def _lab_files(lab: Path) -> list[Path]:
    state = lab / ".autoresearch"
    return [path for path in state.iterdir() if path.is_file()] if state.is_dir() else []


CHECKS: tuple[Check, ...] = (
    check_python,
    check_packages,
    check_git,
    check_memory,
    check_folders,
    check_clock,
    check_ports,
)
