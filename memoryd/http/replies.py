"""The body kinds of ferricula's routes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Reply:
    """A whole answer; status is 200 or 400."""

    body: str
    status: int = 200
    content_type: str = JSON_TYPE


def result(text: str) -> Reply:
    """{"result": text}."""
    return data({"result": text})


def data(value: Mapping[str, Any], *, pretty: bool = False) -> Reply:
    """A JSON object, keys sorted, compact unless `pretty`."""
    if pretty:
        return Reply(json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False))
    return Reply(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def bare(text: str) -> Reply:
    """Text that is not JSON in spite of its type: how ferricula reports the failures of some routes."""
    return Reply(text)


def html(page: str) -> Reply:
    return Reply(page, content_type=HTML_TYPE)


def refused(message: str) -> Reply:
    """The only other status: 400 with {"error": message}."""
    return Reply(json.dumps({"error": message}, separators=(",", ":"), ensure_ascii=False), status=400)
