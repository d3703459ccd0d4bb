"""Checks of devices: the GPU and torch's view of it, the radio dongle, the shared memory of a container."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

from agent.doctor.examination import Check, Finding, Surroundings, error, ok

_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__, "built_for": torch.version.cuda or torch.version.hip or "",
    "cuda": cuda, "device": torch.cuda.get_device_name(0) if cuda else "",
    "memory": torch.cuda.get_device_properties(0).total_memory if cuda else 0,
    "mps": torch.backends.mps.is_available(),
}))
"""
DONGLES = frozenset({("0bda", "2838"), ("0bda", "2832")})
KERNEL_DRIVER = "dvb_usb_rtl28xxu"


def check_torch(around: Surroundings) -> list[Finding]:
    """Torch works, and a visible GPU is used: a GPU machine must never train on its CPU without saying so."""
    if around.trainer_is_elsewhere:
        return []
    gpu = visible_gpu(around)
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=120,
            env=dict(around.environment),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return [error("torch", f"torch does not start: {problem}", "install autoresearch-stack[torch] again")]
    if probe.returncode != 0:
        last = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        return [error("torch", f"torch cannot be imported: {last}", "install autoresearch-stack[torch]")]
    facts = json.loads(probe.stdout.strip().splitlines()[-1])
    if gpu and not facts["built_for"]:
        return [
            error(
                "torch",
                f"{gpu}, but torch {facts['version']} is a CPU build",
                "install a CUDA build of torch",
            )
        ]
    if gpu and not facts["cuda"]:
        return [
            error(
                "torch",
                f"{gpu}, but torch {facts['version']} (CUDA {facts['built_for']}) cannot use it",
                "update the NVIDIA driver to one that supports this CUDA version",
            )
        ]
    if facts["cuda"]:
        return [ok("torch", f"{facts['version']} on {facts['device']}, {facts['memory'] / 2**30:.0f} GiB")]
    if facts["mps"]:
        return [ok("torch", f"{facts['version']} on Apple MPS (slower than CUDA, no compile)")]
    return [ok("torch", f"{facts['version']} on the CPU: the cpu preset")]


def check_container(around: Surroundings) -> list[Finding]:
    """A container that was promised a GPU has one, and its shared memory is not tiny."""
    findings = []
    wanted = around.environment.get("NVIDIA_VISIBLE_DEVICES", "")
    if wanted not in ("", "void", "none") and not list(around.devices.glob("nvidia[0-9]*")):
        findings.append(
            error(
                "container",
                f"NVIDIA_VISIBLE_DEVICES is {wanted!r} but there is no {around.devices}/nvidia0",
                "install nvidia-container-toolkit on the host and give the container the GPU",
            )
        )
    shm = around.devices / "shm"
    if shm.is_dir() and shutil.disk_usage(shm).total < 128 * 2**20:
        size = shutil.disk_usage(shm).total / 2**20
        findings.append(
            error("container", f"{shm} has {size:.0f} MiB", "run the container with --shm-size 1g")
        )
    return findings


def check_dongle(around: Surroundings) -> list[Finding]:
    """An RTL-SDR receiver, if one is plugged in, can be opened."""
    found = None
    entries = sorted(around.usb_devices.iterdir()) if around.usb_devices.is_dir() else []
    for entry in entries:
        try:
            ids = ((entry / "idVendor").read_text().strip(), (entry / "idProduct").read_text().strip())
            if ids in DONGLES:
                found = entry
        except OSError:
            continue
    if found is None:
        return [ok("dongle", "no RTL-SDR receiver here: seeds come from the operating system, and say so")]
    if around.modules.is_file() and KERNEL_DRIVER in around.modules.read_text():
        return [
            error(
                "dongle",
                f"the kernel's television driver {KERNEL_DRIVER} holds the receiver",
                f"blacklist {KERNEL_DRIVER} and plug it in again",
            )
        ]
    try:
        bus, device = int((found / "busnum").read_text()), int((found / "devnum").read_text())
        node = around.devices / "bus" / "usb" / f"{bus:03d}" / f"{device:03d}"
        node.open("r+b", buffering=0).close()
    except PermissionError:
        return [
            error("dongle", "this user may not open the receiver", "install the udev rule from docs/systemd")
        ]
    except (OSError, ValueError) as problem:
        return [error("dongle", f"the receiver cannot be opened: {problem}", "plug it in again")]
    return [ok("dongle", f"an RTL-SDR receiver at {found.name}")]


def visible_gpu(around: Surroundings) -> str:
    """What shows that an NVIDIA GPU is there; "" where nothing does."""
    if list(around.devices.glob("nvidia[0-9]*")):
        return f"{around.devices}/nvidia0 exists"
    tool = shutil.which("nvidia-smi", path=around.environment.get("PATH", ""))
    if tool is None:
        return ""
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return f"nvidia-smi shows {lines[0]}" if listed.returncode == 0 and lines else ""


CHECKS: tuple[Check, ...] = (check_torch, check_container, check_dongle)
