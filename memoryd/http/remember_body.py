"""The body of POST /remember: ferricula's rows, and the bare texts of newer clients."""

from __future__ import annotations

import re
from typing import Any

from memoryd.characters import clean
from memoryd.http.body import is_number, is_unsigned, read_object
from memoryd.memory import ALPHA_DEFAULT, ID_LIMIT, Emotion
from memoryd.query_language.language import REF_NUMBERS, REF_TEXTS
from memoryd.requests import NewMemory
from services.errors import InvalidArgumentError

DEFAULT_CHANNEL = "hearing"


def parse_remember(body: bytes, *, strict: bool = False) -> NewMemory:
    """A new memory from the body; unless `strict`, a missing id, tags or vector is completed.

    Raises InvalidArgumentError with ferricula's messages, fields checked in the order id, tags, vector, ref.
    """
    data = read_object(body)
    is_text = isinstance(data.get("text"), str) and "tags" not in data
    completes = not strict and (is_text or "tags" in data)
    memory_id = _read_id(data, completes)
    tags = _read_tags(data, is_text and completes)
    vector = _read_vector(data, completes)
    _apply_reference(data, tags)
    return NewMemory(
        tags=tags,
        vector=vector,
        memory_id=memory_id,
        importance=_number(data.get("importance"), 0.0),
        keystone=data.get("keystone") is True,
        decay_alpha=_number(data.get("decay_alpha"), ALPHA_DEFAULT),
        emotion=_read_emotion(data) if "emotion" in data else None,
        idempotency_key=clean(data["idempotency_key"])
        if isinstance(data.get("idempotency_key"), str)
        else "",
    )


def _read_id(data: dict[str, Any], completes: bool) -> int | None:
    if "id" not in data and completes:
        return None
    value = data.get("id")
    if not isinstance(value, int) or not is_unsigned(value):
        raise InvalidArgumentError("row.id is required", field="id")
    if value >= ID_LIMIT:
        raise InvalidArgumentError(f"row.id must be below {ID_LIMIT}, got {value}", field="id")
    return value


def _read_tags(data: dict[str, Any], from_text: bool) -> dict[str, str]:
    if from_text:
        channel = data.get("channel")
        return {
            "text": clean(data["text"]),
            "channel": clean(channel) if isinstance(channel, str) and channel else DEFAULT_CHANNEL,
        }
    value = data.get("tags")
    if not isinstance(value, dict):
        raise InvalidArgumentError("row.tags must be an object", field="tags")
    if not all(isinstance(text, str) for text in value.values()):
        raise InvalidArgumentError("tag values must be strings", field="tags")
    return {clean(name): clean(text) for name, text in value.items()}


def _read_vector(data: dict[str, Any], completes: bool) -> tuple[float, ...] | None:
    if "vector" not in data and completes:
        return None
    value = data.get("vector")
    if not isinstance(value, list):
        raise InvalidArgumentError("row.vector must be an array", field="vector")
    if not all(is_number(number) and abs(number) <= 3.4028234e38 for number in value):
        raise InvalidArgumentError("vector values must be numbers", field="vector")
    return tuple(float(number) for number in value)


def _read_emotion(data: dict[str, Any]) -> Emotion:
    value = data["emotion"] if isinstance(data["emotion"], dict) else {}
    primary, secondary = value.get("primary"), value.get("secondary")
    return Emotion(
        clean(primary) if isinstance(primary, str) else "neutral",
        clean(secondary) if isinstance(secondary, str) else None,
    )


def _apply_reference(data: dict[str, Any], tags: dict[str, str]) -> None:
    """Copies a `ref` block into tags of the same names, those that the caller set excepted."""
    if "ref" not in data:
        return
    reference = data["ref"]
    if not isinstance(reference, dict):
        raise _bad_reference(f"invalid type: {_kind(reference)}, expected struct DocumentRef")
    found: dict[str, str] = {}
    for name, value in reference.items():
        if name in REF_NUMBERS:
            if not is_unsigned(value) or value >= ID_LIMIT:
                raise _bad_reference(f"invalid type: {_kind(value)}, expected u32")
            found[name] = str(value)
        elif name in REF_TEXTS and name != "chapter_id":
            if not isinstance(value, str):
                raise _bad_reference(f"invalid type: {_kind(value)}, expected a string")
            found[name] = clean(value)
    if "book" in found and "chapter" in found:
        slug = re.sub(r"[^a-z0-9]+", "_", found["book"].lower()).strip("_")
        found["chapter_id"] = f"{slug}_chapter_{found['chapter']}"
    for name, text in found.items():
        tags.setdefault(name, text)


def _bad_reference(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"invalid `ref` block: {why}", field="ref")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f'string "{value[:40]}"'
        case list():
            return "sequence"
    return "map"


def _number(value: object, default: float) -> float:
    return (
        float(value)
        if isinstance(value, int | float) and is_number(value) and abs(value) < 1e300
        else default
    )
