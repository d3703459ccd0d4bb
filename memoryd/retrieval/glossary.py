"""Concepts of a text: named ones in notes and queries, and described ones in queries.

"the phase in which the rate cools" names nothing, but of all that the lexicon describes the warmdown shares
most of its telling words. ferricula's /search does not use it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from memoryd.retrieval import lexicon
from memoryd.retrieval.abbreviations import all_stems, content_stems

LONGEST_NAME = 4  # stems
SHARPNESS = 4.0  # how fast a concept fades that explains less than the best one
FAINTEST = 0.3  # of the best one's weight, from which a concept counts
CERTAIN = 6.0  # explained words, in units of how telling they are, from which a description is certain
CLEARLY = 1.4  # times what the words of a name tell, a description must tell to count beside it
MOST_DESCRIBED = 3


@dataclass(frozen=True)
class Concept:
    """A concept of a text. `weight` 0..1 is 1 for a named one; `words` are the stems that it accounts for."""

    name: str
    words: frozenset[str]
    weight: float = 1.0


@dataclass(frozen=True)
class _Table:
    names: dict[tuple[str, ...], str]
    first_stems: frozenset[str]
    speaks_for: dict[str, frozenset[str]]  # by stem: the concepts that it may describe
    telling: dict[str, float]  # by stem: how much it tells


def named_concepts(text: str) -> list[Concept]:
    """The concepts that a text names, in order, each as often as it is said; the longest name wins."""
    return [Concept(name, frozenset(stems)) for name, stems in _named(all_stems(text))]


def described_concepts(query: str, named: Iterable[Concept] = ()) -> list[Concept]:
    """The concepts that the words of a query describe, likeliest first; at most three.

    Beside a name only a description counts that accounts for the words of the name and clearly more.
    """
    table = _table()
    stems = [stem for stem in dict.fromkeys(content_stems(query)) if stem in table.telling]
    spoken = frozenset(stems)
    words: dict[str, set[str]] = {}
    for stem in stems:
        for name in table.speaks_for[stem]:
            words.setdefault(name, set()).add(stem)
    scores = {name: sum(table.telling[stem] for stem in found) for name, found in words.items()}
    for one in named:
        least = CLEARLY * sum(table.telling[stem] for stem in one.words & spoken)
        scores = {
            name: score
            for name, score in scores.items()
            if score > least and one.words & spoken <= words[name]
        }
    if not scores:
        return []
    best = max(scores.values())
    likely = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:MOST_DESCRIBED]
    return [
        Concept(name, frozenset(words[name]), weight * min(1.0, best / CERTAIN))
        for name, score in likely
        if (weight := (score / best) ** SHARPNESS) >= FAINTEST
    ]


def _named(stems: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    table, position = _table(), 0
    while position < len(stems):
        step = 1
        if stems[position] in table.first_stems:
            for size in range(min(LONGEST_NAME, len(stems) - position), 0, -1):
                name = table.names.get(tuple(stems[position : position + size]))
                if name is not None:
                    yield name, stems[position : position + size]
                    step = size
                    break
        position += step


@cache
def _table() -> _Table:
    names: dict[tuple[str, ...], str] = {}
    words: dict[str, set[str]] = {}
    described = 0
    for line in filter(None, "".join(lexicon.PARTS).replace("\n ", "").split("\n")):
        concept, _, rest = line.partition(":")
        aliases, has_words, description = rest.partition("|")
        for alias in aliases.split(","):
            names.setdefault(tuple(all_stems(alias)), concept)
        if has_words:
            described += 1
            for word in {*content_stems(aliases), *content_stems(description)}:
                words.setdefault(word, set()).add(concept)
    telling = {word: math.log(1 + described / len(holders)) for word, holders in words.items()}
    return _Table(
        names,
        frozenset(stems[0] for stems in names),
        {word: frozenset(holders) for word, holders in words.items()},
        telling,
    )
