"""Positions in a list or a stream, as text: page tokens and the numbers of events."""

from __future__ import annotations

MOST_DIGITS = 18  # what a 64-bit field and SQLite hold


def is_position(text: str) -> bool:
    """Whether the text is a whole number from 0 that every store can look up."""
    return text.isdecimal() and len(text) <= MOST_DIGITS
