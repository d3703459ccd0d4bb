"""How much memory of a GPU is in use, asked of its driver (NVML), and the watch that holds a run to a cap."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

LIBRARY = "libnvidia-ml.so.1"
POLL_SECONDS = 0.5


class DeviceMemory(Protocol):
    """`used_bytes` says what all processes use of a device, by its name as in CUDA_VISIBLE_DEVICES.

    Raises OSError when the driver does not answer.
    """

    def used_bytes(self, device: str) -> int: ...


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class NvmlMemory:
    """The driver's own library, which is there wherever a GPU works. Raises OSError."""

    def __init__(self, library: str = LIBRARY) -> None:
        self._library = ctypes.CDLL(library)
        self._call("nvmlInit_v2")

    def used_bytes(self, device: str) -> int:
        handle, memory = ctypes.c_void_p(), _Memory()
        if device.isdecimal():
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(int(device)), ctypes.byref(handle))
        else:
            self._call("nvmlDeviceGetHandleByUUID", device.encode(), ctypes.byref(handle))
        self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return int(memory.used)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            raise OSError(code, f"{name} answered {code}")


def open_device_memory(library: str = LIBRARY) -> DeviceMemory | None:
    """None where there is no driver to ask."""
    try:
        return NvmlMemory(library)
    except (OSError, AttributeError):
        return None


def visible_names(indices: Sequence[int]) -> list[str]:
    """The names under which CUDA knows devices, of their numbers among those that this daemon may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # noqa: TID251 - CUDA's own name, passed on
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [names[index] if index < len(names) else str(index) for index in indices]


async def exceed(
    memory: DeviceMemory,
    devices: Sequence[str],
    limit_bytes: int,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> str:
    """Returns the first device of which more is used than the limit; a driver that does not answer is asked
    again."""
    while True:
        for device in devices:
            try:
                if memory.used_bytes(device) > limit_bytes:
                    return device
            except OSError:
                continue
        await sleep(POLL_SECONDS)
