"""What Recall matches by beside plain words."""

from __future__ import annotations

import pytest

from memoryd.retrieval.glossary import concepts_of
from memoryd.retrieval.research_terms import research_terms
from memoryd.retrieval.tokens import tokenize


@pytest.mark.parametrize("text", ["at depth 12", "a d12 model", "depth=12", "DEPTH: 12"])
def test_a_number_stands_with_its_name_however_it_is_written(text: str) -> None:
    assert "depth=12" in research_terms(text)


@pytest.mark.parametrize("text", ["lr 0.04 -> 0.05.", "lr from 0.04 to 0.05", "lr = 0.05 (was 0.04)"])
def test_a_step_keeps_its_direction(text: str) -> None:
    assert "0.04>0.05" in research_terms(text)
    assert "0.05>0.04" not in research_terms(text)


def test_words_around_to_are_no_step() -> None:
    assert not any(">" in term for term in research_terms("how to train, want to know"))


def test_an_identifier_and_its_spelt_out_name_share_their_words() -> None:
    assert set(research_terms("MATRIX_LR")) == set(research_terms("matrix learning rate"))


def test_concepts_join_different_words() -> None:
    assert "~cooldown" in research_terms("a longer warmdown")
    assert "~cooldown" in research_terms("when the rate cools")
    assert "~cooldown" not in research_terms("a longer warmdown", with_glossary=False)
    assert list(concepts_of(tokenize("weight decay"))) == ["weight-decay"]


def test_a_text_of_a_megabyte_is_read_in_part() -> None:
    assert len(research_terms("lr 0.04 -> 0.05 " * 70_000)) < 20_000
