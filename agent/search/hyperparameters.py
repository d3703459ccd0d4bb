"""The hyperparameter block of a train.py, read and changed through its syntax tree.

The block is the section `hyperparameters` (see agent/search/sections.py); in a file without sections, the
top-level assignments. A hyperparameter is an assignment of a literal, or of arithmetic on literals, to
one UPPER_CASE name. Only the value is replaced: comments, order and layout stay.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.search.parameter_values import evaluate_literal, parse_value, spell
from agent.search.sections import find_section
from agent.search.space import Value
from services.errors import InvalidArgumentError

BLOCK = "hyperparameters"
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True)
class _Assignment:
    node: ast.expr
    value: Value | None  # None: computed, so not ours to change.


def read_block(source: str) -> dict[str, Value]:
    """The hyperparameters of a train.py by name, in the order of the file.

    A name assigned twice has its last value, as when the file runs; a computed value is left out.
    Raises InvalidArgumentError (field `source`) for a file that does not parse.
    """
    found = _assignments(source)
    return {name: item.value for name, item in found.items() if item.value is not None}


def set_values(source: str, changes: Mapping[str, object]) -> str:
    """The text of train.py with new values in its block and every other character as it was.

    Values may be Python values or text (`"2**17"`, `"0.05"`, `"SSL"`). Raises InvalidArgumentError whose
    field is the name concerned: an unknown name, a wrong type, a value outside the limits of
    agent/search/space.py, or a name whose value the file computes.
    """
    found = _assignments(source)
    new = {name: _parse(name, value, found) for name, value in changes.items()}
    edited = source.encode()
    starts = _line_starts(edited)
    places = [(found[name].node, name) for name in new]
    for node, name in sorted(places, key=lambda place: (-place[0].lineno, -place[0].col_offset)):
        if new[name] == found[name].value and type(new[name]) is type(found[name].value):
            continue
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        edited = edited[:first] + spell(new[name], edited[first:last].decode()).encode() + edited[last:]
    result = edited.decode()
    if read_block(result) != read_block(source) | new:
        raise InvalidArgumentError("the hyperparameter block could not be changed cleanly", field="source")
    return result


def changed_values(before: str, after: str) -> dict[str, Value]:
    """Hyperparameters of `after` that differ from `before`, by name; new names included."""
    old, new = read_block(before), read_block(after)
    return {name: value for name, value in new.items() if name not in old or old[name] != value}


def edits_code(before: str, after: str) -> bool:
    """True when anything but the values of the hyperparameter block differs between two files."""
    try:
        return set_values(before, changed_values(before, after)) != after
    except InvalidArgumentError:
        return True


def _parse(name: str, value: object, found: Mapping[str, _Assignment]) -> Value:
    if name not in found:
        known = ", ".join(found) or "none"
        raise InvalidArgumentError(f"{name} is not in the hyperparameter block; it has: {known}", field=name)
    present = found[name].value
    if present is None:
        raise InvalidArgumentError(f"{name} is computed in the file: use edit_code", field=name)
    return parse_value(name, value, present)


def _assignments(source: str) -> dict[str, _Assignment]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidArgumentError(f"train.py does not parse: {message}{where}", field="source") from error
    section = find_section(source, BLOCK)
    found: dict[str, _Assignment] = {}
    for node in tree.body:
        if section is not None and not section.first_line <= node.lineno <= section.last_line:
            continue
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            target, value = node.target, node.value
        else:
            continue
        if isinstance(target, ast.Name) and _NAME.fullmatch(target.id):
            found[target.id] = _Assignment(value, evaluate_literal(value))
    return found


def _line_starts(text: bytes) -> list[int]:
    """Byte offsets of the lines as the parser counts them: \\n, \\r\\n and \\r end a line, \\f does not."""
    return [0, *(match.end() for match in re.finditer(rb"\r\n|\r|\n", text))]
