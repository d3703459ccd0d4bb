"""Looks at a reply before it is given: ferricula's /confer, with word lists of our own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

HEDGES = (
    "i think",
    "i believe",
    "i guess",
    "maybe",
    "perhaps",
    "possibly",
    "sort of",
    "kind of",
    "it seems",
    "it might",
    "it could be",
    "i'm not sure",
)
ASSISTANT_PHRASES = (
    "as an ai",
    "happy to help",
    "feel free to",
    "let me know if",
    "great question",
    "i'd be glad",
    "i hope this helps",
    "certainly!",
    "of course!",
    "how can i assist",
)
SOFT_WORDS = frozenset(
    {"lovely", "wonderful", "amazing", "beautiful", "gentle", "sweet", "delightful", "cozy"}
)
GRAVE_WORDS = frozenset(
    {"died", "death", "dead", "grief", "funeral", "suicide", "killed", "dying", "murder", "war"}
)
CONCRETE = re.compile(
    r"\d|\b(remember|remembered|yesterday|last (night|week|month|year)|once|when (i|we)|ago|that time)\b",
    re.I,
)
YES_NO = re.compile(r"^\s*(is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|am)\b", re.I)


@dataclass(frozen=True)
class Assessment:
    """`score` 0..1, `flags` in the order found, `notes` by archetype."""

    score: float
    guidance: str
    flags: tuple[str, ...]
    recommended_tokens: int
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def assess(text: str, context: str = "") -> Assessment:
    """Scores a reply to a context by its questions, hedges, stock phrases, length, tone and concreteness."""
    lowered, words = text.lower(), re.findall(r"[\w']+", text.lower())
    questions = text.count("?")
    sentences = max(1, len([part for part in re.split(r"[.!?]+", text) if part.strip()]))
    hedges = sum(lowered.count(phrase) for phrase in HEDGES)
    stock = sum(lowered.count(phrase) for phrase in ASSISTANT_PHRASES)
    soft = sum(word in SOFT_WORDS for word in words)
    tokens = recommend_tokens(text, context)
    losses: list[tuple[str, str, float, str]] = []
    if questions > 2:
        losses.append(
            ("too_many_questions", "Intuition", 0.15 * (questions - 1), f"{questions} questions: ask one")
        )
    if max(0, sentences - questions) / sentences < 0.5:
        losses.append(("low_declaration_ratio", "Advocate", 0.2, "more is asked than said"))
    if hedges:
        losses.append(("hedging", "Ethics", 0.1 * hedges, f"{hedges} hedges: say it or leave it"))
    if stock:
        losses.append(("assistant_pattern", "Craft", 0.2 * stock, "stock phrases of an assistant"))
    if len(words) > 500:
        losses.append(("verbose", "Craft", 0.1, f"{len(words)} words"))
    if soft > 2:
        losses.append(("tone_mismatch", "Ethics", 0.15, "softer than the matter"))
    if len(words) > 50 and not CONCRETE.search(text):
        losses.append(("generic", "Fortune", 0.15, "nothing that was really remembered"))
    score = min(1.0, max(0.0, 1.0 - sum(loss for _, _, loss, _ in losses)))
    if len(words) > 200 and tokens <= 256:
        losses.append(("bloated", "Craft", 0.1, "far longer than was asked for"))
        score -= 0.1
    score = round(max(0.0, score), 4)
    notes: dict[str, tuple[str, ...]] = {}
    for _, archetype, _, note in losses:
        notes[archetype] = (*notes.get(archetype, ()), note)
    flags = tuple(flag for flag, _, _, _ in losses)
    return Assessment(score, _guidance(score, flags), flags, tokens, notes)


def recommend_tokens(text: str, context: str) -> int:
    """How long an answer to this context should be; the first rule that fits decides."""
    words = re.findall(r"[\w']+", context.lower())
    if sum(word in GRAVE_WORDS for word in words) >= 2:
        return 128
    if YES_NO.match(context) and len(words) <= 10:
        return 128
    if len(words) <= 3:
        return 256
    if len(words) < 30 and len(text.split()) > 4 * len(words):
        return 256
    return 1024 if len(words) > 50 else 512


def _guidance(score: float, flags: tuple[str, ...]) -> str:
    named = ", ".join(flag.replace("_", " ") for flag in flags)
    if score >= 0.8:
        return f"Good as it is{f'; mind {named}' if named else ''}."
    if score >= 0.5:
        return f"Usable, but revise: {named}."
    return f"Write it again: {named}."
