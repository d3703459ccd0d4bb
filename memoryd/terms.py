"""Which memories hold which term: stems of the text, and `tag:value` for every other tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set


def tag_terms(tags: Mapping[str, str]) -> list[str]:
    """The terms of the tags other than the text."""
    return [f"{name}:{value}" for name, value in tags.items() if name != "text"]


class TermTree:
    """Terms in the order of their creation, each with its member ids."""

    def __init__(self) -> None:
        self._members: dict[str, set[int]] = {}
        self._terms_of: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[tuple[str, Set[int]]]:
        return iter(self._members.items())

    @property
    def member_count(self) -> int:
        """Pairs of a term and a memory."""
        return sum(len(members) for members in self._members.values())

    def add(self, memory_id: int, terms: Sequence[str]) -> None:
        """Files a memory under its terms; those of an earlier version go."""
        self.remove(memory_id)
        unique = tuple(dict.fromkeys(terms))
        self._terms_of[memory_id] = unique
        for term in unique:
            self._members.setdefault(term, set()).add(memory_id)

    def remove(self, memory_id: int) -> None:
        for term in self._terms_of.pop(memory_id, ()):
            members = self._members[term]
            members.discard(memory_id)
            if not members:
                del self._members[term]

    def members(self, term: str) -> Set[int]:
        return self._members.get(term, frozenset())

    def terms_of(self, memory_id: int) -> tuple[str, ...]:
        return self._terms_of.get(memory_id, ())
