"""Chooses a source by its URL; an implementation is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from entropyd.source import EntropySource, SourceUnavailableError
from entropyd.sources.tuning import Tuning
from services.errors import ConfigurationError
from services.outgoing_https import SYSTEM_TRUST, HttpsTrust


def refuse_missing_file(url: str, chunk_bytes: int) -> None:
    """Raises ConfigurationError for a `file:` URL of no capture: a dongle may be plugged in later, but what a
    user has named and is not there would leave the system's bytes to answer for it."""
    if url.partition(":")[0] != "file":
        return
    from entropyd.sources.file_source import open_capture, parse_file_url

    try:
        open_capture(parse_file_url(url)[0], chunk_bytes).close()
    except SourceUnavailableError as error:
        raise ConfigurationError(f"{error}; name another, or use os: for the system's bytes") from error


def source_opener(
    url: str,
    tuning: Tuning,
    *,
    token: str | None = None,
    usb_devices: Path | None = None,
    trust: HttpsTrust = SYSTEM_TRUST,
) -> Callable[[], EntropySource]:
    """A maker of unopened sources for `url`. Raises ConfigurationError for a URL that is none."""
    scheme, _, rest = url.partition(":")
    match scheme:
        case "os":
            from entropyd.sources.os_source import OsSource

            return OsSource
        case "auto" if not rest:
            from entropyd.sources.auto_source import USB_DEVICES, AutoSource

            return lambda: AutoSource(tuning, usb_devices=usb_devices or USB_DEVICES)
        case "rtlsdr":
            from entropyd.sources.rtlsdr_source import RtlSdrSource

            tuned = replace(tuning, serial=rest.strip("/") or tuning.serial)
            return lambda: RtlSdrSource(tuned)
        case "rtl_tcp":
            from entropyd.sources.rtl_tcp_source import RtlTcpSource, parse_rtl_tcp_url

            host, port = parse_rtl_tcp_url(url)
            return lambda: RtlTcpSource(host, port, tuning)
        case "http" | "https":
            from entropyd.sources.http_source import HttpSource, check_http_url

            checked = check_http_url(url)
            return lambda: HttpSource(checked, token=token, trust=trust)
        case "file":
            from entropyd.sources.file_source import FileSource, parse_file_url

            path, loop = parse_file_url(url)
            size, rate = tuning.chunk_bytes, tuning.sample_rate
            return lambda: FileSource(path, chunk_bytes=size, sample_rate=rate, loop=loop)
        case _:
            raise ConfigurationError(
                f"--source: {url!r} is not known; use auto, os:, file:PATH, rtlsdr:[SERIAL], "
                "rtl_tcp://HOST:PORT or http://HOST:PORT"
            )
