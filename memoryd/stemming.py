"""The classic Porter stemmer, remembered per word."""

from __future__ import annotations

import threading
from functools import cache, lru_cache
from typing import Protocol, cast

_LOCK = threading.Lock()  # a stemmer keeps the word it works on in itself


class _Stemmer(Protocol):
    def stemWord(self, word: str) -> str: ...


@cache
def _stemmer() -> _Stemmer:
    import snowballstemmer

    return cast(_Stemmer, snowballstemmer.stemmer("porter"))


@lru_cache(maxsize=131_072)
def stem(word: str) -> str:
    """The stem of one lower-case word. Words of at most two bytes stay as they are."""
    if len(word.encode()) <= 2:
        return word
    with _LOCK:
        return _stemmer().stemWord(word)
