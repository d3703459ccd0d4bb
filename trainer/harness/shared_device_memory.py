"""CUDA memory that two processes share by a file descriptor: the driver's virtual memory calls, by ctypes.

The evaluator creates an allocation of its own, exports it as a descriptor and lets the candidate inherit
that, whatever namespaces either lives in; nothing but this allocation is reachable by it (a handle of
cudaIpcGetMemHandle opens the whole block that an allocator cut the memory from, and names a process id,
which another namespace does not know). Both map it into the device's primary context, torch's own.
"""

import ctypes
import os
from functools import lru_cache
from typing import Any

PINNED, ON_DEVICE, POSIX_DESCRIPTOR, READ_WRITE = 1, 1, 1, 3


class DeviceMemoryError(Exception):
    """The driver is absent or refused; the text says which call."""


class _Location(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("id", ctypes.c_int))


class _AllocationFlags(ctypes.Structure):
    _fields_ = (
        ("compression", ctypes.c_ubyte),
        ("gpu_direct", ctypes.c_ubyte),
        ("usage", ctypes.c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    )


class _AllocationProperties(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("windows_data", ctypes.c_void_p),
        ("flags", _AllocationFlags),
    )


class _Access(ctypes.Structure):
    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


class SharedFloats:
    """float32 numbers in shared device memory; torch.as_tensor(it, device=…) is a view, not a copy."""

    def __init__(self, pointer: int, count: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (count,),
            "typestr": "<f4",
            "data": (pointer, False),
            "strides": None,
            "version": 2,
        }
        self.count = count


def create_shared_floats(count: int, device: int = 0) -> tuple[SharedFloats, int]:
    """A new allocation of at least count numbers and the descriptor that stands for it.

    Both last as long as the process, the descriptor until it is closed. Raises DeviceMemoryError.
    """
    _enter_context(device)
    properties = _properties(device)
    unit = ctypes.c_size_t()
    _call("cuMemGetAllocationGranularity", ctypes.byref(unit), ctypes.byref(properties), 0)
    size = _rounded(count * 4, unit.value)
    handle = ctypes.c_uint64()
    _call("cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(size), ctypes.byref(properties), _no_flags())
    descriptor = ctypes.c_int(-1)
    export = "cuMemExportToShareableHandle"
    _call(export, ctypes.byref(descriptor), handle, POSIX_DESCRIPTOR, _no_flags())
    try:
        return SharedFloats(_map(handle, size, device), count), descriptor.value
    except DeviceMemoryError:
        os.close(descriptor.value)
        raise


def open_shared_floats(descriptor: int, count: int, device: int = 0) -> SharedFloats:
    """The numbers behind a descriptor that another process created. Raises DeviceMemoryError."""
    _enter_context(device)
    properties = _properties(device)
    unit = ctypes.c_size_t()
    _call("cuMemGetAllocationGranularity", ctypes.byref(unit), ctypes.byref(properties), 0)
    handle = ctypes.c_uint64()
    opened = ctypes.c_void_p(descriptor)
    _call("cuMemImportFromShareableHandle", ctypes.byref(handle), opened, POSIX_DESCRIPTOR)
    return SharedFloats(_map(handle, _rounded(count * 4, unit.value), device), count)


def device_count() -> int:
    """CUDA devices that this process may use; 0 without a driver."""
    count = ctypes.c_int()
    try:
        _call("cuInit", 0)
        _call("cuDeviceGetCount", ctypes.byref(count))
    except DeviceMemoryError:
        return 0
    return count.value


def device_bytes(device: int = 0) -> int:
    """All memory of a device. Raises DeviceMemoryError."""
    _enter_context(device)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
    return total.value


def _map(handle: ctypes.c_uint64, size: int, device: int) -> int:
    """Maps an allocation for reading and writing and gives the handle back: the mapping keeps it alive."""
    pointer = ctypes.c_uint64()
    nowhere = ctypes.c_uint64(0)
    whole = ctypes.c_size_t(size)
    _call("cuMemAddressReserve", ctypes.byref(pointer), whole, ctypes.c_size_t(0), nowhere, _no_flags())
    _call("cuMemMap", pointer, whole, ctypes.c_size_t(0), handle, _no_flags())
    access = _Access(_Location(ON_DEVICE, device), READ_WRITE)
    _call("cuMemSetAccess", pointer, whole, ctypes.byref(access), ctypes.c_size_t(1))
    _call("cuMemRelease", handle)
    return pointer.value


def _properties(device: int) -> _AllocationProperties:
    return _AllocationProperties(PINNED, POSIX_DESCRIPTOR, _Location(ON_DEVICE, device))


@lru_cache(maxsize=8)
def _enter_context(device: int) -> None:
    """Makes the device's primary context current in this thread; torch uses the same one."""
    number, context = ctypes.c_int(), ctypes.c_void_p()
    _call("cuInit", 0)
    _call("cuDeviceGet", ctypes.byref(number), device)
    _call("cuDevicePrimaryCtxRetain", ctypes.byref(context), number)
    _call("cuCtxSetCurrent", context)


def _call(name: str, *arguments: Any) -> None:
    code = getattr(_driver(), name)(*arguments)
    if code:
        raise DeviceMemoryError(f"{name} failed with CUDA error {code}")


@lru_cache(maxsize=1)
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DeviceMemoryError("there is no CUDA driver library") from error


def _rounded(size: int, unit: int) -> int:
    return -(-max(size, 1) // unit) * unit


def _no_flags() -> ctypes.c_uint64:
    return ctypes.c_uint64(0)
