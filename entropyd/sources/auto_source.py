"""`auto`: the dongle if there is one. The station keeps asking, so a dongle plugged in later is found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Self

from entropyd.source import Chunk, EntropySource, SourceDescription, SourceUnavailableError
from entropyd.sources.rtlsdr_source import RtlSdrSource
from entropyd.sources.tuning import Tuning

USB_DEVICES = Path("/sys/bus/usb/devices")
_RTL2832_IDS = {("0bda", "2832"), ("0bda", "2838"), ("1d50", "604b")}


class AutoSource:
    """A RtlSdrSource that looks first, cheaply, whether opening is worth a process.

    `usb_devices` is Linux's list of USB devices; where it does not exist the library is asked.
    """

    def __init__(
        self, tuning: Tuning, *, usb_devices: Path = USB_DEVICES, open_timeout: float = 10.0
    ) -> None:
        self._source = RtlSdrSource(tuning, open_timeout=open_timeout)
        self._usb_devices = usb_devices

    @property
    def description(self) -> SourceDescription:
        return self._source.description

    async def __aenter__(self) -> Self:
        if is_plugged_in(self._usb_devices) is False:
            raise SourceUnavailableError("no RTL-SDR dongle is plugged in", cause="no-device")
        if importlib.util.find_spec("rtlsdr") is None:
            raise SourceUnavailableError(
                'pyrtlsdr is not installed: pip install "autoresearch-stack[rtlsdr]"',
                cause="library-missing",
                retry_after=60.0,
            )
        await self._source.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._source.__aexit__(*exc_info)

    async def read(self) -> Chunk:
        return await self._source.read()


def is_plugged_in(usb_devices: Path) -> bool | None:
    """Whether a known dongle is on the bus; None where the system does not tell."""
    if not usb_devices.is_dir():
        is_linux_without_usb = usb_devices == USB_DEVICES and sys.platform == "linux"
        return False if is_linux_without_usb else None
    return any(
        (_read(device / "idVendor"), _read(device / "idProduct")) in _RTL2832_IDS
        for device in usb_devices.iterdir()
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip().lower()
    except OSError:
        return ""


_: type[EntropySource] = AutoSource
