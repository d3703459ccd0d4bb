"""Records to JSON text and back. What cannot be read is damage (DataLossError, LEDGER_CORRUPT)."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from services.errors import DataLossError

RecordT = TypeVar("RecordT")
_adapters: dict[type, TypeAdapter[Any]] = {}  # building one takes milliseconds


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def write_record(record: object) -> str:
    """JSON text of a record; enums by their values, tuples as lists."""
    return _adapter(type(record)).dump_json(record).decode()


def read_record(kind: type[RecordT], text: str) -> RecordT:
    """The record that `write_record` wrote; fields that are missing take their defaults."""
    try:
        record: RecordT = _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise damaged(f"no {kind.__name__}: {_first(error)}") from error
    return record


def from_payload(kind: type[RecordT], payload: object) -> RecordT:
    """The record in an event's payload."""
    try:
        record: RecordT = _adapter(kind).validate_python(payload)
    except ValidationError as error:
        raise damaged(f"no {kind.__name__}: {_first(error)}") from error
    return record


def unpack_text(digest: str, data: bytes) -> str:
    """The text of a compressed blob, which must have this SHA-256."""
    try:
        text = zlib.decompress(data)
    except zlib.error as error:
        raise damaged(f"no text: {digest[:12]}") from error
    if hashlib.sha256(text).hexdigest() != digest:
        raise damaged(f"another text than {digest[:12]}")
    return text.decode()


def damaged(what: str) -> DataLossError:
    """A row of the ledger that holds something else than was written."""
    return DataLossError(
        f"the lab's ledger .autoresearch/ledger.db is damaged (a row holds {what}): restore it from a "
        "copy, or move it away to begin anew (the kept commits stay on the branch)",
        reason="LEDGER_CORRUPT",
    )


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}" if where else problem["msg"]
