"""Which release of the package a process runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the package, "unknown" from a bare checkout."""
    try:
        return version("autoresearch-stack")
    except PackageNotFoundError:
        return "unknown"
