"""The recall language: free text or a predicate becomes SQL; SQL becomes a query over the store.

Source: ferricula's recall contract; `id`, `tag('f')`, IN and LIKE are additions. `parser` makes a query of
SQL, `evaluate` answers it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from services.errors import InvalidArgumentError

FREEFORM_CANDIDATES = 10
INTEGER_COLUMNS = frozenset(
    {"recalls", "recall_count", "consolidation_depth", "created_at", "last_recalled", "staleness", "age"}
)
REAL_COLUMNS = frozenset({"fidelity", "alpha", "decay_alpha", "effective_alpha", "importance"})
TEXT_COLUMNS = frozenset({"state", "emotion"})
RECORD_COLUMNS = INTEGER_COLUMNS | REAL_COLUMNS | TEXT_COLUMNS | {"keystone"}
REF_NUMBERS = frozenset({"page", "chapter", "volume"})
REF_TEXTS = frozenset({"book", "author", "section", "url", "filename", "chapter_id"})
REF_FIELDS = REF_NUMBERS | REF_TEXTS

RowT = TypeVar("RowT")


class QueryError(InvalidArgumentError):
    """The query is not in the language; the message is the one that ferricula's clients know."""

    default_reason = "INVALID_QUERY"

    def __init__(self, message: str) -> None:
        super().__init__(message, field="query")


@dataclass(frozen=True)
class Plan:
    """`sql` is what runs or is shown; `freeform` the text to search for when the query was free text."""

    sql: str
    freeform: str | None = None


def plan(query: str) -> Plan:
    """Turns a recall query into SQL by ferricula's rules. Never fails: an empty query becomes an error."""
    text = query.strip()
    lowered = text.lower()
    if not text:
        return Plan("error: empty query")
    if lowered.startswith(("select", "with")):
        return Plan(text)
    if text.startswith("[") and text.endswith("]"):
        return Plan(f"SELECT id FROM docs WHERE vector_topk_cosine('{text}', {FREEFORM_CANDIDATES})")
    if "vector_topk" in lowered or " = " in lowered or "='" in lowered:
        return Plan(f"SELECT id FROM docs WHERE {text}")
    return freeform_plan(text)


def freeform_plan(text: str, limit: int = FREEFORM_CANDIDATES) -> Plan:
    """The plan of a free text search, with the SQL that a ferricula would run for it."""
    doubled = text.strip().replace("'", "''")
    return Plan(f"SELECT id FROM docs WHERE vector_topk_cosine(embed('{doubled}'), {limit})", text.strip())


def arrange_rows(sql: str, rows: Sequence[RowT], value: Callable[[RowT, str], float]) -> list[RowT]:
    """Sorts and cuts the rows of POST /query as ferricula does: by the words of the text, not its grammar.

    ORDER BY counts for id, recalls and fidelity only; a column that ends the text sorts downwards, one
    followed by anything but DESC upwards; then the first LIMIT n anywhere cuts. `value(row, column)` gives
    the number to sort by; `rows` come by ascending id.
    """
    words = sql.replace(";", " ").replace(",", " , ").split()
    lowered = [word.lower() for word in words]
    result = list(rows)
    for position in range(len(lowered) - 2):
        column = lowered[position + 2]
        if lowered[position : position + 2] != ["order", "by"] or column not in ("id", "recalls", "fidelity"):
            continue
        following = lowered[position + 3] if position + 3 < len(lowered) else "desc"
        result.sort(key=lambda row: value(row, column), reverse=following == "desc")
        break
    for word, following in pairwise(lowered):
        if word == "limit" and following.isdecimal():
            return result[: int(following[:20])]
    return result
