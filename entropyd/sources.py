"""Chooses a source by its URL; an implementation is imported only when it is chosen."""

from __future__ import annotations

from collections.abc import Callable

from entropyd.source import EntropySource
from services.errors import ConfigurationError


def source_opener(url: str) -> Callable[[], EntropySource]:
    """A maker of unopened sources for `url`. Raises ConfigurationError for a URL that is none."""
    scheme, _, _rest = url.partition(":")
    match scheme:
        case "os" | "auto":
            from entropyd.os_source import OsSource

            return OsSource
        case "file":
            from entropyd.file_source import FileSource, parse_file_url

            path = parse_file_url(url)
            return lambda: FileSource(path)
        case _:
            raise ConfigurationError(
                f"--source: {url!r} is not known; use auto, os:, file:PATH, rtlsdr:[SERIAL], "
                "rtl_tcp://HOST:PORT or http://HOST:PORT"
            )
