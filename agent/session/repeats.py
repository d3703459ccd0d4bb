"""Finds proposals that were tried before: by program, by hyperparameter vector, by text of the edit. Pure."""

from __future__ import annotations

import ast
import difflib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

NEAR_RATIO = 0.02  # two values this close (relative) are the same to an experiment


@dataclass(frozen=True)
class Tried:
    """A program that was measured, or is being measured, under a number.

    Hashes: `fingerprint` of the whole program, `rest` without the hyperparameters' values, `shape` without
    the names that the program made up (empty where nobody asked for it: it costs the most).
    """

    number: int
    fingerprint: str
    rest: str
    shape: str
    hyperparameters: Mapping[str, object]


@dataclass(frozen=True)
class Repeat:
    """Which earlier proposal, and in what way it is the same."""

    number: int
    how: str


def describe_tried(
    number: int, source: str, hyperparameters: Mapping[str, object], *, with_shape: bool
) -> Tried:
    """What `find_repeat` needs of a program; its shape is compared for edits of code.

    Comments, layout and docstrings do not count; a file that does not parse counts by its text.
    """
    tree = _parse(source)
    if tree is None:
        text = _hash(source)
        return Tried(number, text, text, text, hyperparameters)
    _empty_values(tree, hyperparameters)
    rest = _hash(ast.dump(tree))
    shape = _hash(_values(hyperparameters) + ast.dump(_without_names(tree))) if with_shape else ""
    return Tried(number, _hash(_values(hyperparameters) + rest), rest, shape, hyperparameters)


def retuned(number: int, base: Tried, hyperparameters: Mapping[str, object]) -> Tried:
    """As `describe_tried`, for a program that differs from `base` in values of hyperparameters only."""
    return Tried(number, _hash(_values(hyperparameters) + base.rest), base.rest, "", hyperparameters)


def find_repeat(candidate: Tried, tried: Sequence[Tried]) -> Repeat | None:
    """The earlier proposal that this one repeats, exactly or so nearly that only noise would differ."""
    for other in tried:
        if other.fingerprint == candidate.fingerprint:
            return Repeat(other.number, "the same program")
    for other in tried:
        if other.rest == candidate.rest and _near(candidate.hyperparameters, other.hyperparameters):
            return Repeat(other.number, f"the same code, every value within {NEAR_RATIO:.0%}")
    for other in tried:
        if candidate.shape and other.shape == candidate.shape:
            return Repeat(other.number, "the same code but for names and wording")
    return None


def diff_text(before: str, after: str) -> str:
    """Unified diff of two versions of train.py; empty when they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), "a/train.py", "b/train.py"
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _near(first: Mapping[str, object], second: Mapping[str, object]) -> bool:
    return first.keys() == second.keys() and all(_near_value(first[name], second[name]) for name in first)


def _near_value(first: object, second: object) -> bool:
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(_near_value, first, second))
    if isinstance(first, bool) or isinstance(second, bool) or isinstance(first, str):
        return first == second
    if isinstance(first, int) and isinstance(second, int):
        return first == second  # a layer more is no small change
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=NEAR_RATIO, abs_tol=0.0)
    return first == second


def _without_names(tree: ast.Module) -> ast.Module:
    """Every name that the program made up becomes its place in the order of use; floats are rounded."""
    order: dict[str, str] = {}
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not _loads(node)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in bound and not node.id.isupper():
            node.id = order.setdefault(node.id, f"v{len(order)}")
        elif isinstance(node, ast.arg):
            node.arg = order.setdefault(node.arg, f"v{len(order)}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            node.value = float(f"{node.value:.2g}")
    return tree


def _empty_values(tree: ast.Module, names: Iterable[str]) -> None:
    wanted = set(names)
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id in wanted:
            node.value = ast.Constant(None)


def _values(hyperparameters: Mapping[str, object]) -> str:
    return repr(sorted(hyperparameters.items()))


def _loads(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Load)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _parse(source: str) -> ast.Module | None:
    """The syntax tree without docstrings."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            text = first.value if isinstance(first, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                node.body[:1] = [ast.Pass()] if len(node.body) == 1 else []
    return tree
