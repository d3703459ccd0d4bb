"""Stems of a text with the field's abbreviations spelt out: an identifier and its name hold the same."""

from __future__ import annotations

from collections.abc import Iterable

from memoryd.retrieval.stemming import stem
from memoryd.retrieval.tokens import tokenize, words_in

ABBREVIATIONS = {  # by stem; an identifier and its spelt-out name then hold the same words
    "lr": ("learn", "rate"),
    "wd": ("weight", "decai"),
    "bs": ("batch", "size"),
    "dim": ("dimens",),
    "grad": ("gradient",),
    "ns": ("newton", "schulz"),
    "seq": ("sequenc",),
    "len": ("length",),
    "emb": ("embed",),
    "init": ("initi",),
    "attn": ("attent",),
    "ffn": ("feed", "forward"),
    "oom": ("out", "memori"),
}


PHRASES = {("step", "size"): ("learn", "rate")}  # two words that are another name of two others


def content_stems(text: str) -> list[str]:
    """Stems in order, repeats kept, without stop words and single letters."""
    return _spelt_out(tokenize(text))


def all_stems(text: str) -> list[str]:
    """Stems of every word in order: "n_head" and "number of heads" are told apart."""
    return _spelt_out(map(stem, words_in(text)))


def _spelt_out(stems: Iterable[str]) -> list[str]:
    words = [word for short in stems for word in ABBREVIATIONS.get(short, (short,))]
    for position in range(len(words) - 1):
        words[position : position + 2] = PHRASES.get(
            (words[position], words[position + 1]), words[position : position + 2]
        )
    return words
