"""LIKE: what it matches, and that no pattern keeps the store busy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from memoryd.memory import Record
from memoryd.query_language.evaluate import evaluate
from memoryd.query_language.parser import parse


class OneText:
    """A view of one memory with a text."""

    now = 0

    def __init__(self, text: str) -> None:
        self._text = text

    def ids(self) -> Iterable[int]:
        return (1,)

    def tags(self, memory_id: int) -> Mapping[str, str]:
        return {"text": self._text}

    def record(self, memory_id: int) -> Record | None:
        return None

    def nearest(self, metric: str, vector: Sequence[float], count: int) -> Sequence[tuple[int, float]]:
        return ()


def matches(pattern: str, text: str) -> bool:
    query = parse(f"SELECT id FROM docs WHERE text LIKE '{pattern}'")
    return evaluate(query, OneText(text), {}).ids == (1,)


@given(st.text("ab%_\n", max_size=8), st.text("ab\n", max_size=8))
@example("a%a", "a")
@example("%ab%ab", "aab")
def test_like_means_what_one_regular_expression_would(pattern: str, text: str) -> None:
    whole = "".join({"%": ".*", "_": "."}.get(letter, letter) for letter in pattern)
    assert matches(pattern, text) is (re.fullmatch(whole, text, re.DOTALL) is not None)


def test_a_pattern_of_many_parts_is_answered_though_it_nearly_fits_everywhere() -> None:
    text = "the learning rate was set here and there " * 20_000
    assert not matches("%e%e%e%e%e%e%e%zz%", text)
    assert matches("%e%e%e%e%e%e%e%here and there %", text)
