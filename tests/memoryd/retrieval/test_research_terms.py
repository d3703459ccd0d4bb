"""What Recall matches by beside plain words."""

from __future__ import annotations

import pytest

from memoryd.retrieval.glossary import described_concepts, named_concepts
from memoryd.retrieval.research_terms import is_knob, query_terms, research_terms


@pytest.mark.parametrize("text", ["at depth 12", "a d12 model", "depth=12", "DEPTH: 12"])
def test_a_number_stands_with_its_name_however_it_is_written(text: str) -> None:
    assert "depth=12" in research_terms(text)


@pytest.mark.parametrize("text", ["lr 0.04 -> 0.05.", "lr from 0.04 to 0.05", "lr = 0.05 (was 0.04)"])
def test_a_step_keeps_its_direction(text: str) -> None:
    assert "0.04>0.05" in research_terms(text)
    assert "0.05>0.04" not in research_terms(text)


def test_a_value_has_one_spelling_wherever_a_step_leads() -> None:
    assert ">0.05" in research_terms("lr 4e-2 -> 5.0e-02.")
    assert ">131072" in research_terms("total batch size to 2**17")
    assert ">ssl" in research_terms("WINDOW_PATTERN to SSL")


def test_a_loss_is_an_outcome_and_no_aim() -> None:
    terms = research_terms("dropout to 0.1: val_bpb 0.98 -> 0.97")
    assert {">0.1", "~dropout>0.1", "0.98>0.97"} <= set(terms)
    assert ">0.97" not in terms


def test_words_around_to_are_no_step() -> None:
    assert not any(">" in term for term in research_terms("how to train, want to know"))


def test_an_identifier_and_its_spelt_out_name_share_their_words() -> None:
    assert set(research_terms("MATRIX_LR")) == set(research_terms("matrix learning rate"))


def held(term: str) -> bool:
    return True


@pytest.mark.parametrize("text", ["WARMDOWN_RATIO", "the cooldown", "annealing"])
def test_names_of_one_thing_are_one_concept(text: str) -> None:
    assert "~warmdown" in research_terms(text)
    assert "~warmdown" not in research_terms(text, with_glossary=False)


def test_the_longest_name_wins() -> None:
    assert [one.name for one in named_concepts("DEVICE_BATCH_SIZE")] == ["device-batch"]
    assert [one.name for one in named_concepts("N_HEAD, not HEAD_DIM")] == ["head-count", "head-dim"]


def test_a_query_may_describe_what_it_does_not_name() -> None:
    terms = query_terms("the last phase, in which the learning rate falls to zero", held)
    assert terms["~warmdown"] > 1
    assert terms["phase"] < 0.5, "the concept stands for the words that describe it"


def test_a_concept_that_no_note_holds_leaves_the_words_their_weight() -> None:
    terms = query_terms("the last phase, in which the learning rate falls to zero", lambda term: False)
    assert terms["phase"] == 1.0
    assert terms["~warmdown"] == 1.0, "an idea that nobody tried lowers what the best note answers"


def test_a_name_is_not_overruled_by_the_words_around_it() -> None:
    terms = query_terms("raise DEVICE_BATCH_SIZE to 64 for the depth 12 model on H100", held)
    assert [term for term in terms if is_knob(term)] == ["~device-batch"]
    around = "gradient clipping for the residual stream"
    assert described_concepts(around, named_concepts(around)) == []


def test_where_a_change_leads_is_a_term_of_its_own() -> None:
    one, other = (set(research_terms(text)) for text in ("raised WD to 0.2", "weight decay = 0.2 (was 0.1)"))
    assert {">0.2", "~weight-decay>0.2"} <= one & other
    assert "~weight-decay>0.1" not in other


def test_a_text_of_a_megabyte_is_read_in_part() -> None:
    assert len(research_terms("lr 0.04 -> 0.05 " * 70_000)) < 20_000
