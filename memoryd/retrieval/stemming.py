"""The classic Porter stemmer, remembered per word."""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import Protocol, cast

LONGEST_WORD = 64
_LOCK = threading.Lock()  # a stemmer keeps the word it works on in itself


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


@cache
def _stemmer() -> _Stemmer:
    import snowballstemmer

    return cast(_Stemmer, snowballstemmer.stemmer("porter"))


def stem(word: str) -> str:
    """The stem of one lower-case word. Words of at most two bytes stay as they are.

    So do those of more than 64 characters: they are no words, and remembering them would fill the memory.
    """
    return word if len(word) > LONGEST_WORD or len(word.encode()) <= 2 else _stem(word)


@lru_cache(maxsize=131_072)
def _stem(word: str) -> str:
    with _LOCK:
        return _stemmer().stemWord(word)
