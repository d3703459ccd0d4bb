"""Records to JSON text and back."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter

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
    record: RecordT = _adapter(kind).validate_json(text)
    return record


def from_payload(kind: type[RecordT], payload: object) -> RecordT:
    """The record in an event's payload."""
    record: RecordT = _adapter(kind).validate_python(payload)
    return record
