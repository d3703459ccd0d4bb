"""What Recall matches by: words, and what a note on an experiment says beside them.

Numbers and identifiers whole, a number with the word before it ("depth 8", "d8" and "8 layers" are told
apart from other eights), the step from one value to another in its direction, and concepts of the glossary.
"""

from __future__ import annotations

import re

from memoryd.retrieval.glossary import concepts_of
from memoryd.retrieval.stemming import stem
from memoryd.retrieval.stopwords import STOP_WORDS
from memoryd.retrieval.tokens import literals, tokenize

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
LONGEST_TEXT = 20_000  # characters; notes are shorter, and a longer text adds nothing to its own ranking
_NUMBER = r"\d{1,12}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,2})?(?:\*\*\d{1,3})?"
_NAMED = re.compile(rf"([A-Za-z][A-Za-z_]{{0,40}})[ =:]{{1,3}}(?:from )?({_NUMBER})(?![\w.]*\w)")
_SHORT_DEPTH = re.compile(r"(?<![A-Za-z0-9])d(\d{1,3})(?![A-Za-z0-9])")
_VALUE = r"[A-Za-z0-9](?:[\w.*]{0,19}\w)?"
_STEP = re.compile(rf"({_VALUE}) {{0,2}}(?:->|→|to) {{0,2}}({_VALUE})")
_STEP_BACK = re.compile(rf"({_VALUE}) \(was ({_VALUE})\)")


def research_terms(text: str, *, with_glossary: bool = True) -> list[str]:
    """The terms of a text, repeats kept. Words are stems; the other kinds carry a mark of theirs."""
    text = text[:LONGEST_TEXT]
    stems = [word for short in tokenize(text) for word in ABBREVIATIONS.get(short, (short,))]
    depths = _SHORT_DEPTH.findall(text)
    stems += [stem("depth")] * len(depths)
    found = [*stems, *(f"#{literal}" for literal in literals(text) if not _is_words(literal))]
    found += [f"#{number}" for number in depths]
    if with_glossary:
        found += [f"~{name}" for name in concepts_of(stems)]
    steps = [(old, new) for old, new in _STEP.findall(text) if _is_value(old) and _is_value(new)]
    steps += [(old, new) for new, old in _STEP_BACK.findall(text)]
    found += [f"{old.lower()}>{new.lower()}" for old, new in steps]
    named = {(_last_word(name), number) for name, number in _NAMED.findall(text)}
    named |= {(stem("depth"), number) for number in depths}
    for name, number in list(named):  # "lr from 1 to 2" names both values
        named |= {(name, new) for old, new in steps if old == number}
        named |= {(name, old) for old, new in steps if new == number}
    found += [f"{name}={number}" for name, number in sorted(named) if name not in STOP_WORDS]
    return found


def _last_word(name: str) -> str:
    """What MATRIX_LR and "learning rate" have in common at their end."""
    last = stem(name.lower().rpartition("_")[2])
    return ABBREVIATIONS.get(last, (last,))[-1]


def _is_words(literal: str) -> bool:
    """Identifiers such as head_dim: their words are terms already, and a note may spell them apart."""
    return "_" in literal and literal.replace("_", "").isalpha()


def _is_value(text: str) -> bool:
    """Numbers, and words in capitals such as a pattern of layers; not "want to know"."""
    return text[0].isdigit() or text.isupper()
