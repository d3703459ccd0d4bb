"""Tool calls as they come off a wire, and what a provider wants back with its next request."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agent.provider import ToolCall


def read_call(call_id: str, name: str, raw_arguments: str) -> ToolCall:
    """A call whose arguments are None unless the text is a JSON object. No text at all means no arguments."""
    if not raw_arguments.strip():
        return ToolCall(call_id, name, {}, raw_arguments)
    try:
        value = json.loads(raw_arguments)
    except ValueError:
        return ToolCall(call_id, name, None, raw_arguments)
    return ToolCall(call_id, name, value if isinstance(value, dict) else None, raw_arguments)


def keep_opaque(provider: str, value: object) -> str:
    """Text that only the same provider reads again; "" for nothing."""
    return json.dumps({"provider": provider, "value": value}) if value else ""


def read_opaque(provider: str, text: str) -> list[dict[str, object]]:
    """What `keep_opaque` was given by the same provider; empty otherwise."""
    try:
        entry = json.loads(text) if text else {}
    except ValueError:
        return []
    if not isinstance(entry, Mapping) or entry.get("provider") != provider:
        return []
    value = entry.get("value")
    return value if isinstance(value, list) else []
