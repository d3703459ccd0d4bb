"""Which devices this machine has; torch is asked in a process of its own, and only where a GPU may be."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from pathlib import Path

from trainer.executor import DeviceInfo
from trainer.presets import choose_preset

_PROBE = """
import json, os
os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
import torch
found = []
if torch.cuda.is_available():
    from trainer.harness.attention import working_backends
    attention = ",".join(working_backends(False))
    for index in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(index)
        found.append({"name": p.name, "kind": "cuda", "memory": p.total_memory, "attention": attention})
elif getattr(torch.backends, "mps", None) and torch.backends.mps.is_available():
    found.append({"name": "mps", "kind": "mps", "memory": 0, "attention": "sdpa"})
print(json.dumps(found))
"""
PROBE_SECONDS = 120.0


async def probe_devices(slots: int) -> tuple[tuple[DeviceInfo, ...], tuple[str, ...]]:
    """The devices and warnings. Without a GPU: `slots` places on the CPU. Never raises."""
    warnings: list[str] = []
    if gpu_driver_is_present():
        found = await _ask_torch()
        if found:
            return tuple(_device(entry, index) for index, entry in enumerate(found)), ()
        if sys.platform != "darwin":
            warnings.append("an NVIDIA driver is present but torch sees no GPU; experiments run on the CPU")
    memory = host_memory_bytes()
    cpu = tuple(DeviceInfo("cpu", "cpu", memory, "cpu", "sdpa", index) for index in range(slots))
    return cpu, tuple(warnings)


def preset_here() -> str:
    """Name of the preset for the first device of this machine."""
    devices, _ = asyncio.run(probe_devices(1))
    first = devices[0]
    return choose_preset(first.name, first.memory_bytes if first.kind == "cuda" else 0)


def gpu_driver_is_present() -> bool:
    """Whether asking torch for a GPU is worth seconds of start-up."""
    return sys.platform == "darwin" or os.name == "nt" or Path("/proc/driver/nvidia").exists()


def bytecode_warning(folder: Path | None = None, *, compiles: bool | None = None) -> str:
    """What to do where torch was installed without bytecode, as uv does: every run then loads it anew from
    its source, since a candidate may not write there. Empty where all is well. folder is torch's own."""
    if folder is None:
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            return ""
        folder = Path(spec.origin).parent
    loaded = ["__init__.py"]
    if gpu_driver_is_present() if compiles is None else compiles:
        loaded.append("_inductor/compile_fx.py")
    sources = [folder / name for name in loaded if (folder / name).is_file()]
    if all(Path(importlib.util.cache_from_source(str(path))).is_file() for path in sources):
        return ""
    return (
        "torch has no bytecode here, so each run takes twice as long to load it; "
        f"make it once: {sys.executable} -m compileall -q {folder}"
    )


def torch_version() -> str:
    """The installed version; empty where torch is missing."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""


def host_memory_bytes() -> int:
    """Memory of this machine, or of the control group that this process lives in."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        import psutil

        total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        text = limit.read_text().strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdigit() else total


async def _ask_torch() -> list[dict[str, object]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROBE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PROBE_SECONDS)
        found: list[dict[str, object]] = json.loads(output.decode().strip().splitlines()[-1])
    except (TimeoutError, ValueError, IndexError):
        if process.returncode is None:
            process.kill()
            await process.wait()
        return []
    return found


def _device(entry: dict[str, object], index: int) -> DeviceInfo:
    name, kind = str(entry["name"]), str(entry["kind"])
    device_class = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    memory, attention = int(str(entry["memory"])), str(entry["attention"])
    return DeviceInfo(name, kind, memory, device_class, attention, index)
