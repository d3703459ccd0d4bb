"""What a parsed query is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Embed:
    """A vector still to be made from a text."""

    text: str


@dataclass(frozen=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    part: Condition


@dataclass(frozen=True)
class Compare:
    """A column, an operator of = != < > <= >=, and the text of a literal."""

    column: str
    operator: str
    value: str
    is_tag: bool = False


@dataclass(frozen=True)
class OneOf:
    column: str
    values: tuple[str, ...]
    is_tag: bool = False


@dataclass(frozen=True)
class Like:
    """`pattern` with % and _; upper and lower case differ."""

    column: str
    pattern: str
    is_tag: bool = False


@dataclass(frozen=True)
class Nearest:
    """The `count` nearest memories of the whole store. `metric` is "cosine" or "l2"."""

    metric: str
    vector: tuple[float, ...] | Embed
    count: int


@dataclass(frozen=True)
class BothTags:
    """Memories that carry both tags (ferricula's tag_jaccard)."""

    first: tuple[str, str]
    second: tuple[str, str]


Condition = And | Or | Not | Compare | OneOf | Like | Nearest | BothTags


@dataclass(frozen=True)
class Select:
    condition: Condition | None


@dataclass(frozen=True)
class Combined:
    """`operator` is UNION, INTERSECT or EXCEPT."""

    operator: str
    left: Body
    right: Body


Body = Select | Combined


@dataclass(frozen=True)
class Query:
    """`order` holds (column, descending); `limit` None for all."""

    body: Body
    order: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    offset: int = 0


def conditions_of(query: Query) -> Iterator[Condition]:
    """Every condition of the query, outer ones first, in the order of the text."""
    waiting: list[Body | Condition] = [query.body]
    while waiting:
        match waiting.pop():
            case Combined(_, left, right):
                waiting += (right, left)
            case Select(condition):
                if condition is not None:
                    waiting.append(condition)
            case condition:
                yield condition
                match condition:
                    case And(parts) | Or(parts):
                        waiting += reversed(parts)
                    case Not(part):
                        waiting.append(part)


def embedded_texts(query: Query) -> list[str]:
    """The distinct texts of embed('…') in the query, in order: what needs a vector before it can run."""
    texts: dict[str, None] = {}
    for condition in conditions_of(query):
        match condition:
            case Nearest(vector=Embed(text)):
                texts[text] = None
    return list(texts)
