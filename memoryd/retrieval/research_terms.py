"""What Recall matches by: words, and what a note on an experiment says beside them.

Numbers and identifiers whole, a number with the word before it ("depth 8", "d8" and "8 layers" are told
apart from other eights), the step from one value to another in its direction, and concepts of the glossary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from memoryd.retrieval.abbreviations import ABBREVIATIONS, content_stems
from memoryd.retrieval.glossary import Concept, described_concepts, named_concepts
from memoryd.retrieval.stemming import stem
from memoryd.retrieval.stopwords import STOP_WORDS
from memoryd.retrieval.tokens import literals

LONGEST_TEXT = 20_000  # characters; notes are shorter, and a longer text adds nothing to its own ranking
SPELLED = 0.8  # share of its weight that a word loses to the concept that it names
EXPLAINED = 0.8  # the same for a word that describes the concept
DESCRIBED = 1.5  # what a described concept counts
MOST_TARGETS = 4  # new values, and knobs, of a text that speaks of one experiment
PLAIN = frozenset({"raise", "lower", "loss", "out-of-memory", "diverged"})
_NUMBER = r"\d{1,12}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,2})?(?:\*\*\d{1,3})?"
_NAMED = re.compile(rf"([A-Za-z][A-Za-z_]{{0,40}})[ =:]{{1,3}}(?:from )?({_NUMBER})(?![\w.]*\w)")
_SHORT_DEPTH = re.compile(r"(?<![A-Za-z0-9])d(\d{1,3})(?![A-Za-z0-9])")
_VALUE = rf"(?:{_NUMBER}(?![\w*]|\.\d)|[A-Za-z0-9](?:[\w.*]{{0,19}}\w)?)"
_STEP = re.compile(rf"({_VALUE}) {{0,2}}(?:->|→|to) {{0,2}}({_VALUE})")
_TARGET = re.compile(rf"\bto ({_VALUE})")
_OUTCOME = re.compile(rf"(?:bpb|loss|perplexity)[ =:]{{1,3}}({_VALUE})")
_STEP_BACK = re.compile(rf"({_VALUE}) \(was ({_VALUE})\)")


def research_terms(text: str, *, with_glossary: bool = True) -> list[str]:
    """The terms of a note, repeats kept. Words are stems; the other kinds carry a mark of theirs."""
    text = text[:LONGEST_TEXT]
    concepts = named_concepts(text) if with_glossary else []
    return [*_plain_terms(text, concepts), *(f"~{one.name}" for one in concepts)]


def query_terms(
    query: str, is_held: Callable[[str], bool], *, with_glossary: bool = True
) -> dict[str, float]:
    """The terms of a query with their weights: what a note must hold to answer it.

    A concept that the store holds (`is_held`) takes over from the words that name or describe it.
    """
    query = query[:LONGEST_TEXT]
    named = named_concepts(query) if with_glossary else []
    terms = dict.fromkeys(_plain_terms(query, named), 1.0)
    for one in named:
        _take_over(terms, one, is_held, len(one.words), SPELLED)
    if with_glossary:
        for one in described_concepts(
            _NAMED.sub(" ", query), [one for one in named if one.name not in PLAIN]
        ):
            if f"~{one.name}" not in terms:
                _take_over(terms, one, is_held, DESCRIBED * one.weight, EXPLAINED * one.weight)
    return terms


def is_knob(term: str) -> bool:
    """Whether a term is a concept that experiments change, rather than a direction or an outcome."""
    return term.startswith("~") and ">" not in term and term[1:] not in PLAIN


def _take_over(
    terms: dict[str, float], one: Concept, is_held: Callable[[str], bool], weight: float, loss: float
) -> None:
    term = f"~{one.name}"
    if not is_held(term):
        terms[term] = min(weight, 1.0)
        return
    terms[term] = weight
    for word in one.words & terms.keys():
        terms[word] *= 1 - loss


def _plain_terms(text: str, concepts: Sequence[Concept]) -> list[str]:
    depths = _SHORT_DEPTH.findall(text)
    found = [word for word in content_stems(text) if not word.isdecimal()]  # numbers follow whole
    found += [stem("depth")] * len(depths)
    found += [f"#{literal}" for literal in literals(text) if not _is_words(literal)]
    found += [f"#{number}" for number in depths]
    steps = [(old, new) for old, new in _STEP.findall(text) if _is_value(old) and _is_value(new)]
    steps += [(old, new) for new, old in _STEP_BACK.findall(text)]
    found += [f"{_spelling(old)}>{_spelling(new)}" for old, new in steps]
    named = {(_last_word(name), number) for name, number in _NAMED.findall(text)}
    named |= {(stem("depth"), number) for number in depths}
    for name, number in list(named):  # "lr from 1 to 2" names both values
        named |= {(name, new) for old, new in steps if old == number}
        named |= {(name, old) for old, new in steps if new == number}
    found += [f"{name}={number}" for name, number in sorted(named) if name not in STOP_WORDS]
    outcomes = frozenset(_OUTCOME.findall(text))
    targets = {_spelling(new) for old, new in steps if old not in outcomes and new not in outcomes}
    targets |= {_spelling(new) for new in _TARGET.findall(text) if _is_value(new)}
    knobs = {one.name for one in concepts if one.name not in PLAIN}
    if len(targets) <= MOST_TARGETS and len(knobs) <= MOST_TARGETS:
        found += [f">{new}" for new in sorted(targets)]
        found += [f"~{knob}>{new}" for knob in sorted(knobs) for new in sorted(targets)]
    return found


def _last_word(name: str) -> str:
    """What MATRIX_LR and "learning rate" have in common at their end."""
    last = stem(name.lower().rpartition("_")[2])
    return ABBREVIATIONS.get(last, (last,))[-1]


def _is_words(literal: str) -> bool:
    """Identifiers such as head_dim, and feed-forward: their words are terms already, in either spelling."""
    return any(mark in literal for mark in "_-") and literal.replace("_", "").replace("-", "").isalpha()


def _spelling(value: str) -> str:
    """One spelling of a number, as its literal has it; other values in lower case."""
    return next(iter(literals(value)), value.lower())


def _is_value(text: str) -> bool:
    """Numbers, and words in capitals such as a pattern of layers; not "want to know"."""
    return text[0].isdigit() or text.isupper()
