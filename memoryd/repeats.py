"""Notices that an experiment was tried before: same change, same hyperparameters, or same words.

Experiments are memories; what they changed stands in their tags: `diff` (a unified diff) and
`hyperparameters` (JSON object, or NAME=VALUE separated by commas). Without tags the text is compared: its
words, and which known knob it sets to which value.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from memoryd.retrieval.research_terms import research_terms
from memoryd.retrieval.tokens import literals, tokenize

DIFF_TAG = "diff"
HYPERPARAMETERS_TAG = "hyperparameters"
SAME_IDEA = 0.9  # similarity of texts that set the same knob to the same value in other words
NEAR = 0.98  # similarity from which hyperparameters count as a repeat
MOST_COMPARED = 5_000  # newest memories with the same names that are compared
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")
_SPOKEN_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?!\w|\.\d)")  # may end a sentence


@dataclass(frozen=True)
class Repeat:
    """`kind` is "diff", "hyperparameters" or "text"; `similarity` 1.0 for equal after normalisation."""

    memory_id: int
    kind: str
    similarity: float


def diff_key(diff: str) -> str | None:
    """Hash of what a diff changes; None when it changes nothing.

    File names, line numbers, blank lines, comments, spacing and the spelling of numbers do not count.
    """
    changes = []
    for line in diff.splitlines():
        if line[:1] not in ("+", "-") or line.startswith(("+++", "---")):
            continue
        words = " ".join(line[1:].partition("#")[0].split())
        if words:
            changes.append(
                line[0] + _NUMBER.sub(_one_spelling, re.sub(r"\s*([=+\-*/(),:])\s*", r"\1", words))
            )
    return hashlib.sha256("\n".join(changes).encode()).hexdigest() if changes else None


def text_key(text: str) -> str | None:
    """Hash of the words and numbers of a text in any order; None for a text without any."""
    words = sorted({*tokenize(_SPOKEN_NUMBER.sub(" ", text)), *literals(text)})
    return hashlib.sha256(" ".join(words).encode()).hexdigest() if words else None


def idea_key(text: str) -> str | None:
    """Which known knobs a text sets to which values, and at which depth; None when it names no change.

    "raised WARMDOWN_RATIO from 0.3 to 0.5 at depth 8" and "d8: cooldown ratio 0.3 -> 0.5, kept" are alike.
    """
    terms = sorted(set(research_terms(text)))
    changes = [term for term in terms if term.startswith("~") and ">" in term]
    conditions = [term for term in terms if term.startswith("depth=")]
    return " ".join([*changes, *conditions]) if changes else None


def read_hyperparameters(text: str) -> dict[str, str]:
    """Names (lower-case) and values of a JSON object or of NAME=VALUE pairs; {} for anything else."""
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        pairs = (part.partition("=") for part in text.replace("\n", ",").split(","))
        return {
            name.strip().lower(): value.strip()
            for name, _, value in pairs
            if name.strip().isidentifier() and value.strip()
        }
    if not isinstance(loaded, dict):
        return {}
    return {
        str(name).lower(): value if isinstance(value, str) else json.dumps(value)
        for name, value in loaded.items()
    }


def hyperparameter_similarity(one: Mapping[str, str], other: Mapping[str, str]) -> float:
    """0..1 over the same names; 0 when the names differ. Numbers are compared by their ratio.

    A value that doubled counts 0 for its name, one that moved by 1 % about 0.99.
    """
    if not one or one.keys() != other.keys():
        return 0.0
    return min(_value_similarity(value, other[name]) for name, value in one.items())


class RepeatIndex:
    """What was tried, by memory id. Adding a known id replaces it."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._keys: dict[int, list[tuple[str, str]]] = {}
        self._parameters: dict[int, dict[str, str]] = {}

    def add(self, memory_id: int, tags: Mapping[str, str]) -> None:
        """Remembers a memory by its tags, `text` among them."""
        self.remove(memory_id)
        keys, parameters = _keys_of(tags)
        for key in keys:
            self._by_key[key].add(memory_id)
        self._keys[memory_id] = keys
        if parameters:
            self._parameters[memory_id] = parameters

    def remove(self, memory_id: int) -> None:
        for key in self._keys.pop(memory_id, ()):
            self._by_key[key].discard(memory_id)
            if not self._by_key[key]:
                del self._by_key[key]
        self._parameters.pop(memory_id, None)

    def find(self, tags: Mapping[str, str]) -> list[Repeat]:
        """Earlier memories that `tags` would repeat, most alike first, newest first among equals."""
        keys, parameters = _keys_of(tags)
        found: dict[int, Repeat] = {}
        for kind, key in keys:
            for memory_id in self._by_key.get((kind, key), ()):
                if kind == "idea":
                    found.setdefault(memory_id, Repeat(memory_id, "text", SAME_IDEA))
                elif kind != "names":
                    found[memory_id] = Repeat(memory_id, kind, 1.0)
        same_names = self._by_key.get(("names", _names_key(parameters)), set()) if parameters else set()
        for memory_id in sorted(same_names, reverse=True)[:MOST_COMPARED]:
            similarity = hyperparameter_similarity(parameters, self._parameters[memory_id])
            if similarity >= NEAR:
                found.setdefault(memory_id, Repeat(memory_id, "hyperparameters", similarity))
        return sorted(found.values(), key=lambda repeat: (-repeat.similarity, -repeat.memory_id))


def _keys_of(tags: Mapping[str, str]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    diff = diff_key(tags.get(DIFF_TAG, ""))
    text = text_key(tags.get("text", ""))
    parameters = read_hyperparameters(tags.get(HYPERPARAMETERS_TAG, ""))
    keys = [("diff", diff)] if diff else []
    if parameters:
        keys.append(("names", _names_key(parameters)))
    if text:
        keys.append(("text", text))
    idea = idea_key(tags.get("text", ""))
    if idea:
        keys.insert(0, ("idea", idea))  # the surest kind comes last
    return keys, parameters


def _names_key(parameters: Mapping[str, str]) -> str:
    return ",".join(sorted(parameters))


def _value_similarity(one: str, other: str) -> float:
    if one == other:
        return 1.0
    first, second = _as_number(one), _as_number(other)
    if first is None or second is None:
        return 0.0
    if first == second:
        return 1.0
    ratio = first / second if second else 0.0
    return 1.0 - abs(math.log2(ratio)) if 0.5 < ratio < 2.0 else 0.0


def _as_number(text: str) -> float | None:
    base, _, power = text.partition("**")
    try:
        number = float(base) ** int(power) if power else float(base)
    except (ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


def _one_spelling(match: re.Match[str]) -> str:
    return f"{float(match.group()):.12g}"
