"""The reader process: the only place where pyrtlsdr (GPL) and librtlsdr are loaded, and may crash or hang.

Run as `python -m entropyd.sources.rtlsdr_reader JSON`, with the fields of Tuning, or {"probe": true} to list
devices. It writes frames to stdout and ends when its stdin does, so it never outlives its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from entropyd.sources.reader_frames import CHUNK, ERROR, HELLO, pack_frame

_OPEN_CAUSES = {
    -3: ("no-permission", "no permission to open the dongle; install the udev rule of docs/entropyd.md"),
    -6: ("busy", "another program or the kernel driver dvb_usb_rtl28xxu holds the dongle"),
    -12: ("busy", "the kernel driver dvb_usb_rtl28xxu holds the dongle and cannot be detached"),
}
USB_STRING_BYTES = 256
_GONE = (-4, -5)  # LIBUSB_ERROR_NO_DEVICE, LIBUSB_ERROR_NOT_FOUND


class ReaderError(Exception):
    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def load_library(library_folder: str) -> Any:
    """The module rtlsdr. With `library_folder`, whose librtlsdr.so LD_LIBRARY_PATH names, the library
    that pyrtlsdrlib brings is passed over. Raises ReaderError."""
    if library_folder:
        sys.modules["pyrtlsdrlib"] = None  # type: ignore[assignment]
    try:
        import rtlsdr
    except ModuleNotFoundError as error:
        raise ReaderError(
            "library-missing",
            f'pyrtlsdr is not installed ({error.name}): pip install "autoresearch-stack[rtlsdr]"',
        ) from error
    except (ImportError, OSError) as error:
        raise ReaderError("library-missing", f"librtlsdr cannot be loaded: {error}") from error
    except AttributeError as error:
        raise ReaderError(
            "library-too-old",
            f"librtlsdr is too old for pyrtlsdr ({error}): pip install pyrtlsdrlib",
        ) from error
    return rtlsdr


def open_device(rtlsdr: Any, wishes: dict[str, Any]) -> Any:
    """An open, tuned device: highest gain unless one is given, no automatic gain. Raises ReaderError."""
    count = int(rtlsdr.librtlsdr.rtlsdr_get_device_count())
    if count == 0:
        raise ReaderError("no-device", "no RTL-SDR dongle is plugged in")
    serial = wishes.get("serial", "")
    index = find_device(rtlsdr, serial, count) if serial else 0
    try:
        device = rtlsdr.RtlSdr(device_index=index)
        device.sample_rate = wishes["sample_rate"]
        device.center_freq = wishes["frequency_hz"]
        device.set_agc_mode(False)
        device.set_manual_gain_enabled(True)
        gain = wishes.get("gain_db")
        device.gain = max(device.valid_gains_db) if gain is None else gain
    except OSError as error:
        fallback = ("no-device", f"the dongle cannot be opened: {error}")
        raise ReaderError(*_OPEN_CAUSES.get(error.errno or 0, fallback)) from error
    opened = serial_of(rtlsdr, device)
    if serial and opened not in ("", serial):  # between looking and opening the numbers may have shifted
        raise ReaderError("no-device", f"the dongle {serial!r} went away; {opened!r} stands in its place")
    return device


def find_device(rtlsdr: Any, serial: str, count: int) -> int:
    """The number of the dongle on the bus. Raises ReaderError."""
    try:
        return int(rtlsdr.RtlSdr.get_device_index_by_serial(serial))
    except OSError as error:
        text = (ctypes.c_ubyte * USB_STRING_BYTES)()
        for index in range(count):  # one that may not be asked may be the one
            code = rtlsdr.librtlsdr.rtlsdr_get_device_usb_strings(index, None, None, text)
            if code in _OPEN_CAUSES:
                raise ReaderError(*_OPEN_CAUSES[code]) from error
        raise ReaderError("no-device", f"no dongle has the serial number {serial!r}") from error


def serial_of(rtlsdr: Any, device: Any) -> str:
    """The serial number of an open device; empty where the library cannot tell."""
    read = getattr(rtlsdr.librtlsdr, "rtlsdr_get_usb_strings", None)
    text = (ctypes.c_ubyte * USB_STRING_BYTES)()
    if read is None or read(device.dev_p, None, None, text) != 0:
        return ""
    return bytes(text).partition(b"\0")[0].decode("utf-8", "replace")


def list_devices(rtlsdr: Any) -> list[str]:
    """Serial numbers of the dongles, also of busy ones where the library tells."""
    count = int(rtlsdr.librtlsdr.rtlsdr_get_device_count())
    try:
        return [str(serial) for serial in rtlsdr.RtlSdr.get_device_serial_addresses()]
    except OSError:
        return ["?"] * count


def stream(rtlsdr: Any, wishes: dict[str, Any], send: Callable[[bytes], None]) -> None:
    """Sends hello and then chunks until the device fails. Raises ReaderError."""
    device = open_device(rtlsdr, wishes)
    hello = {"device": serial_of(rtlsdr, device) or "0", "gain_db": device.gain}
    send(pack_frame(HELLO, json.dumps(hello).encode()))
    sequence = 0

    def forward(values: Any, context: object) -> None:
        nonlocal sequence
        send(pack_frame(CHUNK, bytes(values), sequence=sequence, at=time.monotonic()))
        sequence += 1

    try:
        device.read_bytes_async(forward, wishes["chunk_bytes"])
    except OSError as error:
        cause = "unplugged" if error.errno in _GONE else "read-error"
        raise ReaderError(cause, f"reading from the dongle failed: {error}") from error
    raise ReaderError("unplugged", "the library stopped reading")


def main() -> int:
    wishes: dict[str, Any] = json.loads(sys.argv[1])
    output = os.dup(1)
    os.dup2(2, 1)  # the C library prints; frames must not be mixed with that
    threading.Thread(target=leave_with_parent, daemon=True).start()

    def send(data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(output, view) :]
        except OSError:
            os._exit(0)  # the parent is gone, and C frames cannot be unwound

    try:
        rtlsdr = load_library(wishes.get("library_folder", ""))
        if wishes.get("probe"):
            send(pack_frame(HELLO, json.dumps({"devices": list_devices(rtlsdr)}).encode()))
            return 0
        stream(rtlsdr, wishes, send)
    except ReaderError as error:
        send(pack_frame(ERROR, json.dumps({"cause": error.cause, "message": str(error)}).encode()))
    os._exit(1)  # closing the device may hang or crash; the kernel does it


def leave_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
