"""Runs a parsed query over a view of the store. Pure: vectors of embed('…') are made before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from memoryd.memory import Record, State
from memoryd.query_language.language import (
    INTEGER_COLUMNS,
    REAL_COLUMNS,
    RECORD_COLUMNS,
    REF_NUMBERS,
    QueryError,
)
from memoryd.query_language.tree import (
    And,
    Body,
    BothTags,
    Combined,
    Compare,
    Condition,
    Embed,
    Like,
    Nearest,
    Not,
    OneOf,
    Or,
    Query,
    Select,
    conditions_of,
)

EPSILON = 1.19e-7  # ferricula compares its 32-bit numbers so


class StoreView(Protocol):
    """What a query may look at. `now` is in whole seconds since 1970."""

    @property
    def now(self) -> int: ...

    def ids(self) -> Iterable[int]:
        """Every row id."""

    def tags(self, memory_id: int) -> Mapping[str, str]:
        """The tags of a row that `ids` gave."""

    def record(self, memory_id: int) -> Record | None:
        """The record of a row, if it has one."""

    def nearest(self, metric: str, vector: Sequence[float], count: int) -> Sequence[tuple[int, float]]:
        """(id, score) of the nearest rows, best first, by "cosine" or "l2" (negative distance)."""


@dataclass(frozen=True)
class Selection:
    """`ids` in the order asked for, LIMIT applied; `scores` of those that a vector function found.

    `total` counts the hits before LIMIT. `ranked` says that ORDER BY or a score made the order; otherwise
    it is by ascending id.
    """

    ids: tuple[int, ...]
    scores: Mapping[int, float]
    total: int
    ranked: bool


def evaluate(query: Query, view: StoreView, vectors: Mapping[str, Sequence[float]]) -> Selection:
    """Raises QueryError for an embed('…') that `vectors` has no entry for, or a wrong kind of literal."""
    run = _Run(view, vectors)
    found = run.body(query.body)
    ids = sorted(found)
    scores = {memory_id: score for memory_id, score in run.scores.items() if memory_id in found}
    if scores:
        ids.sort(key=lambda memory_id: -scores.get(memory_id, float("-inf")))
    for column, descending in reversed(query.order):
        ids.sort(key=lambda memory_id: run.order_key(memory_id, column), reverse=descending)
    end = None if query.limit is None else query.offset + query.limit
    return Selection(tuple(ids[query.offset : end]), scores, len(ids), bool(scores) or bool(query.order))


def asks_for_state(query: Query, state: State) -> bool:
    """Whether a condition on the column `state` names this one."""
    for condition in conditions_of(query):
        match condition:
            case Compare("state", _, value, False) if value == state.value:
                return True
            case OneOf("state", values, False) if state.value in values:
                return True
            case Like("state", pattern, False) if _like(pattern)(state.value):
                return True
    return False


class _Run:
    def __init__(self, view: StoreView, vectors: Mapping[str, Sequence[float]]) -> None:
        self._view = view
        self._vectors = vectors
        self._all = frozenset(view.ids())
        self.scores: dict[int, float] = {}

    def body(self, body: Body) -> frozenset[int]:
        match body:
            case Select(condition):
                return self._all if condition is None else self._condition(condition)
            case Combined("UNION", left, right):
                return self.body(left) | self.body(right)
            case Combined("INTERSECT", left, right):
                return self.body(left) & self.body(right)
            case Combined(_, left, right):
                return self.body(left) - self.body(right)

    def order_key(self, memory_id: int, column: str) -> tuple[int, float, str]:
        """Numbers before texts, rows without the column last."""
        if column == "id":
            return (0, memory_id, "")
        record = self._view.record(memory_id)
        if column in RECORD_COLUMNS and record is not None:
            value = self._column(record, column)
            return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")
        text = self._view.tags(memory_id).get(column)
        if text is None:
            return (2, 0.0, "")
        number = _number_or_none(text)
        return (1, 0.0, text) if number is None else (0, number, "")

    def _condition(self, condition: Condition) -> frozenset[int]:
        match condition:
            case And(parts):
                found = self._condition(parts[0])
                for part in parts[1:]:
                    found &= self._condition(part)
                return found
            case Or(parts):
                return frozenset().union(*(self._condition(part) for part in parts))
            case Not(part):
                return self._all - self._condition(part)
            case Compare(column, operator, value, is_tag):
                return self._compare(column, operator, value, is_tag)
            case OneOf(column, values, is_tag):
                return frozenset().union(*(self._compare(column, "=", value, is_tag) for value in values))
            case Like(column, pattern, is_tag):
                matches = _like(pattern)
                return self._where(
                    lambda memory_id: (
                        (text := self._text(memory_id, column, is_tag)) is not None and matches(text)
                    )
                )
            case Nearest(metric, vector, count):
                return self._nearest(metric, vector, count)
            case BothTags(first, second):
                return self._tag_equals(*first) & self._tag_equals(*second)

    def _where(self, test: Callable[[int], bool]) -> frozenset[int]:
        return frozenset(memory_id for memory_id in self._all if test(memory_id))

    def _tag_equals(self, field: str, value: str) -> frozenset[int]:
        tags = self._view.tags
        return frozenset(memory_id for memory_id in self._all if tags(memory_id).get(field) == value)

    def _compare(self, column: str, operator: str, value: str, is_tag: bool) -> frozenset[int]:
        compare = _OPERATORS[operator]
        if is_tag or not (column == "id" or column in RECORD_COLUMNS or column in REF_NUMBERS):
            if operator == "=":
                return self._tag_equals(column, value)
            tags = self._view.tags
            return self._where(lambda i: column in tags(i) and compare(tags(i)[column], value))
        if column == "id":
            wanted = _number(column, value)
            if operator == "=" and isinstance(wanted, int):
                return self._all & {wanted}  # a client may ask for hundreds
            return self._where(lambda memory_id: compare(memory_id, wanted))
        if column in REF_NUMBERS:
            wanted = _number(column, value)
            return self._where(
                lambda i: (
                    (own := _number_or_none(self._view.tags(i).get(column, ""))) is not None
                    and compare(own, wanted)
                )
            )
        return self._compare_record(column, operator, value)

    def _compare_record(self, column: str, operator: str, value: str) -> frozenset[int]:
        compare = _OPERATORS[operator]
        expected: float | str = value
        if column in REAL_COLUMNS:
            expected = _number(column, value)
            if operator in ("=", "!="):
                inside, equal = expected, operator == "="
                return self._records(
                    lambda r: (abs(float(self._column(r, column)) - inside) <= EPSILON) == equal
                )
        elif column in INTEGER_COLUMNS:
            expected = _number(column, value)
        return self._records(lambda record: compare(self._column(record, column), expected))

    def _records(self, test: Callable[[Record], bool]) -> frozenset[int]:
        record = self._view.record
        return self._where(lambda i: (own := record(i)) is not None and test(own))

    def _nearest(self, metric: str, vector: tuple[float, ...] | Embed, count: int) -> frozenset[int]:
        numbers: Sequence[float]
        if isinstance(vector, Embed):
            if vector.text not in self._vectors:
                raise QueryError("embed() is not available in this query")
            numbers = self._vectors[vector.text]
        else:
            numbers = vector
        hits = self._view.nearest(metric, numbers, min(count, len(self._all)))
        for memory_id, score in hits:
            self.scores[memory_id] = max(score, self.scores.get(memory_id, float("-inf")))
        return frozenset(memory_id for memory_id, _ in hits)

    def _text(self, memory_id: int, column: str, is_tag: bool) -> str | None:
        if column == "id" and not is_tag:
            return str(memory_id)
        record = self._view.record(memory_id)
        if not is_tag and column in RECORD_COLUMNS and record is not None:
            return str(self._column(record, column))
        return self._view.tags(memory_id).get(column)

    def _column(self, record: Record, column: str) -> float | str:
        match column:
            case "alpha" | "decay_alpha":
                return record.decay_alpha
            case "fidelity":
                return record.fidelity
            case "effective_alpha":
                return record.effective_alpha
            case "importance":
                return record.importance
            case "recalls" | "recall_count":
                return record.recall_count
            case "consolidation_depth":
                return record.consolidation_depth
            case "created_at":
                return record.created_at
            case "last_recalled":
                return record.last_recalled
            case "staleness":
                return self._view.now - record.last_recalled
            case "age":
                return self._view.now - record.created_at
            case "state":
                return record.state.value
            case "emotion":
                return record.emotion.primary if record.emotion is not None else "null"
        return "true" if record.keystone else "false"


_OPERATORS: dict[str, Callable[..., bool]] = {
    "=": lambda own, other: own == other,
    "!=": lambda own, other: own != other,
    "<": lambda own, other: own < other,
    ">": lambda own, other: own > other,
    "<=": lambda own, other: own <= other,
    ">=": lambda own, other: own >= other,
}


def _number(column: str, text: str) -> float:
    number = _number_or_none(text)
    if number is None:
        raise QueryError(f"expected a number for `{column}`, got {text[:40]!r}")
    return number


def _number_or_none(text: str) -> float | None:
    try:
        return int(text) if len(text) < 40 and text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return None


def _like(pattern: str) -> Callable[[str], bool]:
    """Whether a text matches a LIKE pattern; each part between two % is looked for once, from the left:
    one regular expression for the whole would try every place of each part with every other."""
    parts = [
        re.compile("".join("." if c == "_" else re.escape(c) for c in part), re.DOTALL)
        for part in pattern.split("%")
    ]
    if len(parts) == 1:
        return lambda text: parts[0].fullmatch(text) is not None
    first, *middle, last = parts

    def matches(text: str) -> bool:
        found = first.match(text)
        for part in middle:
            if found is None:
                return False
            found = part.search(text, found.end())
        tail = len(text) - len(pattern.rpartition("%")[2])
        return found is not None and found.end() <= tail and last.match(text, tail) is not None

    return matches
