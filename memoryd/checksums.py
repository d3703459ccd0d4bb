"""The CRC-32 that every stored item carries, and the list of what failed it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

Column = int | float | str | bytes | None
Columns = tuple[Column, ...]
NAMED = 10


def checksum(values: Sequence[Column]) -> int:
    """CRC-32 over the columns, kinds included."""
    parts = [
        value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        for value in values
    ]
    return zlib.crc32(b"\x00".join((b"", *parts)))


def sealed(values: Columns) -> Columns:
    """The columns with their checksum at the end."""
    return (*values, checksum(values))


def intact(columns: Sequence[Column]) -> bool:
    """Whether the last column is the checksum of the others."""
    return checksum(columns[:-1]) == columns[-1]


class SetAside:
    """Names of the stored items that failed their checksum since the start; they are never served."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add(self, table: str, *key: object) -> None:
        self._names.add(f"{table} {'-'.join(map(str, key))}")

    def warnings(self) -> list[str]:
        if not self._names:
            return []
        named = ", ".join(sorted(self._names)[:NAMED])
        return [
            f"{len(self._names)} stored items fail their checksum and are set aside: {named}; "
            "restore a backup to have them again"
        ]
