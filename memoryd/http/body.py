"""Reads JSON bodies and words their errors as ferricula's parser does."""

from __future__ import annotations

import json
from typing import Any

from services.errors import InvalidArgumentError


def read_json(body: bytes) -> Any:
    """The JSON value of a body. Raises InvalidArgumentError with ferricula's message."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _problem("invalid unicode code point", body[: error.start].decode(), error.start) from error
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        rest = text[error.pos :].strip()
        if not rest or error.msg.startswith("Unterminated"):
            kind = "a string" if error.msg.startswith("Unterminated") else _open_kind(text[: error.pos])
            raise InvalidArgumentError(
                f"EOF while parsing {kind} at {_place(text, len(text))}", field="body"
            ) from error
        message = {
            "Expecting value": "expected value",
            "Extra data": "trailing characters",
            "Expecting property name enclosed in double quotes": "key must be a string",
            "Expecting ':' delimiter": "expected `:`",
            "Expecting ',' delimiter": f"expected `,` or `{_closing(text[: error.pos])}`",
        }.get(error.msg, "expected value")
        raise _problem(message, text, error.pos + 1) from error
    except RecursionError as error:
        raise InvalidArgumentError("recursion limit exceeded at line 1 column 128", field="body") from error
    except ValueError as error:  # a number that Python will not read
        raise InvalidArgumentError("number out of range at line 1 column 1", field="body") from error
    return value


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; another value is an empty object, as ferricula looks fields up in it."""
    value = read_json(body)
    return value if isinstance(value, dict) else {}


def is_unsigned(value: object) -> bool:
    """Whether a JSON value is an unsigned integer (true and false are none)."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError("Expecting value", name, 0)


def _problem(message: str, text: str, position: int) -> InvalidArgumentError:
    return InvalidArgumentError(f"{message} at {_place(text, position)}", field="body")


def _place(text: str, position: int) -> str:
    before = text[:position]
    line = before.count("\n") + 1
    column = len(before.rpartition("\n")[2].encode("utf-8", "replace"))
    return f"line {line} column {column}"


def _open_kind(before: str) -> str:
    closing = _closing(before)
    if not before.strip():
        return "a value"
    return "an object" if closing == "}" else "a list"


def _closing(before: str) -> str:
    """The bracket that is still open, by a rough count outside strings."""
    stack: list[str] = []
    inside = escaped = False
    for character in before:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "{[":
            stack.append("}" if character == "{" else "]")
        elif character in "}]" and stack:
            stack.pop()
    return stack[-1] if stack else "}"
