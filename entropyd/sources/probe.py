"""`entropyd probe`: what receivers there are, or the exact cause why there is none, in one line each."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from entropyd.source import SourceUnavailableError
from entropyd.sources import source_opener
from entropyd.sources.auto_source import USB_DEVICES, is_plugged_in
from entropyd.sources.reader_frames import ERROR, read_frame
from entropyd.sources.rtlsdr_source import describe_exit, start_reader, wait_briefly
from entropyd.sources.tuning import Tuning

PROBE_SECONDS = 15.0


@dataclass(frozen=True)
class Finding:
    """`cause` is empty when all is well, else a documented name; `text` is one line for a person."""

    what: str
    ok: bool
    cause: str
    text: str


async def probe(library_folder: str = "", usb_devices: Path = USB_DEVICES, url: str = "") -> list[Finding]:
    """Looks at the USB bus, the library, and each dongle, which is opened and read once."""
    findings = [_look_at_bus(usb_devices), *await _ask_library(library_folder)]
    if url:
        findings.append(await try_source(url, Tuning(library_folder=library_folder)))
    elif findings[-1].ok:
        findings.append(await try_source("rtlsdr:", Tuning(library_folder=library_folder)))
    return findings


def _look_at_bus(usb_devices: Path) -> Finding:
    plugged = is_plugged_in(usb_devices)
    if plugged is None:
        return Finding("usb", True, "", "this system does not list its USB devices; the library is asked")
    if not plugged:
        return Finding("usb", False, "no-device", "no RTL-SDR dongle is on the USB bus")
    return Finding("usb", True, "", "an RTL-SDR dongle is on the USB bus")


async def _ask_library(library_folder: str) -> list[Finding]:
    process = await start_reader({"probe": True, "library_folder": library_folder}, library_folder)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            frame = await read_frame(process.stdout)
    except TimeoutError:
        return [Finding("library", False, "stalled", "librtlsdr does not answer; unplug the dongle")]
    except (asyncio.IncompleteReadError, ValueError):
        code = await wait_briefly(process)
        return [Finding("library", False, "crashed", f"librtlsdr crashed ({describe_exit(code)})")]
    finally:
        if process.returncode is None:
            process.kill()
        await wait_briefly(process)
    told = json.loads(frame.payload)
    if frame.kind == ERROR:
        return [Finding("library", False, told["cause"], told["message"])]
    devices = told["devices"]
    if not devices:
        return [
            Finding("library", True, "", "pyrtlsdr and librtlsdr load"),
            Finding("devices", False, "no-device", "the library sees no dongle"),
        ]
    return [
        Finding("library", True, "", "pyrtlsdr and librtlsdr load"),
        Finding("devices", True, "", f"serial numbers: {', '.join(devices)}"),
    ]


async def try_source(url: str, tuning: Tuning) -> Finding:
    """Opens the source and reads one chunk."""
    source = source_opener(url, tuning)()
    try:
        async with asyncio.timeout(PROBE_SECONDS), source:
            chunk = await source.read()
    except SourceUnavailableError as error:
        return Finding("open", False, error.cause, str(error))
    except TimeoutError:
        return Finding("open", False, "stalled", f"{url} gives no samples within {PROBE_SECONDS:g} s")
    return Finding("open", True, "", f"{source.description.detail}: {len(chunk.data)} bytes read")


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when a receiver can be used, 1 when none can."""
    parser = argparse.ArgumentParser(prog="entropyd probe", description=__doc__)
    parser.add_argument("--source", default="", help="try this source as well, e.g. rtl_tcp://HOST:1234")
    parser.add_argument("--rtlsdr-library", default="", help="folder of a librtlsdr.so to use")
    parser.add_argument("--usb-devices", type=Path, default=USB_DEVICES, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    findings = asyncio.run(probe(options.rtlsdr_library, options.usb_devices, options.source))
    usable = findings[-1].what == "open" and findings[-1].ok
    if options.json:
        sys.stdout.write(json.dumps({"usable": usable, "findings": [asdict(f) for f in findings]}) + "\n")
    else:
        for finding in findings:
            mark = "ok" if finding.ok else f"FAULT ({finding.cause})"
            sys.stdout.write(f"{finding.what}: {mark}: {finding.text}\n")
    return 0 if usable else 1
