"""Which memories hold which term: stems of the text, and `tag:value` for every other tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memoryd.retrieval.bm25 import Bm25Index


def tag_terms(tags: Mapping[str, str]) -> list[str]:
    """The terms of the tags other than the text."""
    return [f"{name}:{value}" for name, value in tags.items() if name != "text"]


class TermTree:
    """The terms of the search index and those of the tags, which search never reaches."""

    def __init__(self, words: Bm25Index) -> None:
        self._words = words
        self._members: dict[str, set[int]] = {}
        self._tags_of: dict[int, tuple[str, ...]] = {}
        self._tag_pairs = 0

    def __len__(self) -> int:
        return self._words.term_count + len(self._members)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Terms with the number of their members, in the order of creation, words before tags."""
        yield from self._words.terms().items()
        for term, members in self._members.items():
            yield term, len(members)

    @property
    def member_count(self) -> int:
        """Pairs of a term and a memory."""
        return self._words.pair_count + self._tag_pairs

    def add_tags(self, memory_id: int, tags: Mapping[str, str]) -> None:
        """Files a memory under its tags; those of an earlier version go."""
        self.remove(memory_id)
        terms = tuple(tag_terms(tags))
        if not terms:
            return
        self._tags_of[memory_id] = terms
        self._tag_pairs += len(terms)
        for term in terms:
            self._members.setdefault(term, set()).add(memory_id)

    def remove(self, memory_id: int) -> None:
        """Takes a memory from under its tags."""
        for term in self._tags_of.pop(memory_id, ()):
            self._tag_pairs -= 1
            members = self._members[term]
            members.discard(memory_id)
            if not members:
                del self._members[term]

    def members(self, term: str) -> frozenset[int]:
        """Ids of the memories under a term."""
        return frozenset(self._members[term]) if term in self._members else self._words.holders(term)

    def size(self, term: str) -> int:
        """The number of members of a term."""
        return len(self._members[term]) if term in self._members else self._words.holder_count(term)

    def terms_of(self, memory_id: int) -> tuple[str, ...]:
        return (*self._words.terms_of(memory_id), *self._tags_of.get(memory_id, ()))
