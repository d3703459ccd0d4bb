"""Values of hyperparameters: from literals and from text, checked against the table, and back to Python."""

from __future__ import annotations

import ast
import math
import re

from agent.search.space import PARAMETERS, Parameter, Value
from services.errors import InvalidArgumentError

_LONGEST = 200
_MOST_BITS = 1000  # a larger whole number is no float
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def evaluate_literal(node: ast.expr) -> Value | None:
    """The value of a literal or of arithmetic on numbers (`2**17`, `3 * 64`, `-0.5`); None for anything else.

    Nothing is executed, and the size of a power is bounded.
    """
    if isinstance(node, ast.Constant):
        return _bounded(node.value) if isinstance(node.value, bool | int | float | str) else None
    if isinstance(node, ast.Tuple | ast.List):
        items = [evaluate_literal(item) for item in node.elts]
        return tuple(float(i) for i in items if _is_number(i)) if all(map(_is_number, items)) else None  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        operand = evaluate_literal(node.operand)
        if not _is_number(operand) or not isinstance(node.op, ast.USub | ast.UAdd):
            return None
        return -operand if isinstance(node.op, ast.USub) else operand  # type: ignore[operator]
    if isinstance(node, ast.BinOp):
        left, right = evaluate_literal(node.left), evaluate_literal(node.right)
        if _is_number(left) and _is_number(right):
            return _bounded(_calculate(node.op, left, right))  # type: ignore[arg-type]
    return None


def parse_value(name: str, given: object, present: Value) -> Value:
    """The value to write for `name`, of the type of its present value and inside its limits.

    Raises InvalidArgumentError with field `name`.
    """
    parameter = PARAMETERS.get(name)
    try:
        value = _of_type(name, _read(given, present), given, present)
        if parameter is not None:
            _check(parameter, value)
    except OverflowError as error:
        raise InvalidArgumentError(f"{name} is larger than any number here may be", field=name) from error
    if parameter is None and isinstance(value, float) and not math.isfinite(value):
        raise InvalidArgumentError(f"{name} must be finite, not {value}", field=name)
    return value


def spell(value: Value, before: str = "") -> str:
    """Python for a value; a power of two stays written as one where the file wrote one, or from 2**11 on."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and value >= 2 and value & (value - 1) == 0 and (value >= 2**11 or "**" in before):  # type: ignore[operator]
        return f"2**{value.bit_length() - 1}"  # type: ignore[union-attr]
    if isinstance(value, tuple):
        inside = ", ".join(repr(item) for item in value) + ("," if len(value) == 1 else "")
        return f"[{inside}]" if before.startswith("[") else f"({inside})"
    if isinstance(value, str) and before.startswith('"') and '"' not in value and "\\" not in repr(value):
        return f'"{value}"'
    return repr(value)


def _read(given: object, present: Value) -> object:
    """Text becomes a value where the present one is not text; lists become tuples."""
    if isinstance(given, list | tuple):
        return tuple(given)
    if not isinstance(given, str) or isinstance(present, str):
        return given
    text = given.strip()
    if text.lower() in _WORDS and isinstance(present, bool):
        return _WORDS[text.lower()]
    try:
        node = ast.parse(text[:_LONGEST], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return given
    value = evaluate_literal(node)
    return given if value is None else value


def _of_type(name: str, value: object, given: object, present: Value) -> Value:
    shown = repr(given)[:60]
    if isinstance(present, bool):
        if isinstance(value, bool):
            return value
        raise InvalidArgumentError(f"{name} must be True or False, not {shown}", field=name)
    if isinstance(present, str):
        if isinstance(value, str) and len(value) <= _LONGEST and value.isprintable():
            return value.strip().strip("'\"")
        raise InvalidArgumentError(f"{name} must be text like {present!r}, not {shown}", field=name)
    if isinstance(present, tuple):
        if isinstance(value, tuple) and len(value) == len(present) and all(map(_is_number, value)):
            return tuple(float(item) for item in value)
        wanted = f"{len(present)} numbers like {spell(present)}"
        raise InvalidArgumentError(f"{name} must be {wanted}, not {shown}", field=name)
    if not _is_number(value):
        raise InvalidArgumentError(f"{name} must be a number like {spell(present)}, not {shown}", field=name)
    number: int | float = value  # type: ignore[assignment]
    if isinstance(present, float):
        return float(number)
    if isinstance(number, float) and not number.is_integer():
        wanted = f"a whole number like {spell(present)}"
        raise InvalidArgumentError(f"{name} must be {wanted}, not {shown}", field=name)
    return int(number)


def _check(parameter: Parameter, value: Value) -> None:
    name = parameter.name
    if parameter.kind == "choice" and value not in parameter.choices:
        known = ", ".join(map(str, parameter.choices))
        raise InvalidArgumentError(f"{name} must be one of {known}, not {value!r}", field=name)
    if parameter.kind == "pattern":
        fits = isinstance(value, str) and re.fullmatch(parameter.form, value) and len(value) <= parameter.high
        if not fits:
            wanted = f"{parameter.wanted}, at most {parameter.high:.0f} characters"
            raise InvalidArgumentError(f"{name} must be {wanted}, not {value!r}", field=name)
    if parameter.kind in ("choice", "pattern", "switch"):
        return
    for item in value if isinstance(value, tuple) else (value,):
        number = float(item)
        if not parameter.low <= number <= parameter.high:  # False for NaN as well.
            raise InvalidArgumentError(
                f"{name} must be from {parameter.low:g} to {parameter.high:g}, not {item!r}", field=name
            )
    if parameter.kind == "power_of_two" and isinstance(value, int) and value & (value - 1):
        raise InvalidArgumentError(f"{name} must be a power of two, not {value}", field=name)


def _calculate(operator: ast.operator, left: int | float, right: int | float) -> int | float | None:
    try:
        match operator:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                return left / right
            case ast.FloorDiv():
                return left // right
            case ast.Mod():
                return left % right
            case ast.Pow() if abs(right) <= 64 and abs(left) <= 1e6:
                power = left**right
                return None if isinstance(power, complex) else power
    except (ZeroDivisionError, OverflowError):
        return None
    return None


def _bounded(value: Value | None) -> Value | None:
    return None if isinstance(value, int) and value.bit_length() > _MOST_BITS else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
