"""Text to search terms: ferricula's tokenizer, and the literals that it would tear apart."""

from __future__ import annotations

import re
from functools import lru_cache

from memoryd.retrieval.stemming import stem
from memoryd.retrieval.stopwords import STOP_WORDS

_WORD = re.compile(r"[^\W_]+")
_CHUNK = re.compile(r"[A-Za-z0-9_.+\-*%]+")
_LONGEST_LITERAL = 64
_LITERAL = re.compile(
    r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?(?:\*\*\d{1,3})?%?"  # 0.04, 1e-3, 2**17
    r"|[A-Za-z_][A-Za-z0-9]*(?:[_\-.][A-Za-z0-9]+)+"  # warmdown_ratio, nvidia-h200, train.py
    r"|(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}"  # 4f2a91c
    r"|[A-Za-z]+\d+[A-Za-z0-9]*"  # d12, H100
)


def words_in(text: str) -> list[str]:
    """Every run of letters and digits of `text` in lower case, in order."""
    return _WORD.findall(text.lower())


def tokenize(text: str) -> list[str]:
    """The stemmed terms of `text` in order, repeats kept.

    Lower-case, split at everything not alphanumeric, words under two bytes and stop words dropped, classic
    Porter stems. Source: ferricula's search contract.
    """
    return [stem(word) for word in words_in(text) if len(word.encode()) >= 2 and word not in STOP_WORDS]


def literals(text: str) -> list[str]:
    """Numbers, identifiers and commit ids of `text` in one spelling, repeats kept.

    "0.040" and "4e-2" give the same literal, because a researcher means the number, not its digits.
    """
    return [
        literal
        for chunk in _CHUNK.findall(text)
        if (literal := _literal(chunk[: _LONGEST_LITERAL + 1])) is not None
    ]


@lru_cache(maxsize=65_536)
def _literal(chunk: str) -> str | None:
    """The literal that a run of its characters is, without the punctuation of the sentence around it."""
    trimmed = chunk.rstrip(".+-*").lstrip(".*")
    if len(trimmed) > _LONGEST_LITERAL or _LITERAL.fullmatch(trimmed) is None:
        return None
    return _one_spelling(trimmed)


def _one_spelling(literal: str) -> str:
    base, _, power = literal.partition("**")
    try:
        number = float(base.rstrip("%")) ** int(power) if power else float(base.rstrip("%"))
        return f"{number:.12g}" + ("%" if literal.endswith("%") else "")
    except (ValueError, OverflowError):
        return literal.lower()
