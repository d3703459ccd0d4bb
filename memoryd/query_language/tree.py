"""What a parsed query is made of."""

from __future__ import annotations

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


def embedded_texts(query: Query) -> list[str]:
    """The distinct texts of embed('…') in the query, in order: what needs a vector before it can run."""
    texts: dict[str, None] = {}

    def walk(node: object) -> None:
        match node:
            case Nearest(vector=Embed(text)):
                texts[text] = None
            case And(parts) | Or(parts):
                for part in parts:
                    walk(part)
            case Not(part) | Select(part):
                walk(part)
            case Combined(_, left, right):
                walk(left)
                walk(right)

    walk(query.body)
    return list(texts)
