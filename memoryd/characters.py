"""Which characters of a text may be stored, and which may stand in a line that is shown."""

from __future__ import annotations

import re

_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\u200b-\u200f\u202a-\u202e\u2066-\u2069]+")


def clean(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become U+FFFD, NUL characters too."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")


def one_line(text: str) -> str:
    """Text without line ends and control characters, so that it can not forge a line of a layout."""
    return _LINE_ENDS.sub(" ", text)
