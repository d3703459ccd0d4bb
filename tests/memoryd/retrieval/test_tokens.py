"""The tokenizer and its stems."""

from __future__ import annotations

import pytest

from memoryd.repeats import diff_key, read_hyperparameters, text_key
from memoryd.retrieval.stopwords import STOP_WORDS
from memoryd.retrieval.tokens import literals, tokenize


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("agreed", "agre"),
        ("hopping", "hop"),
        ("hoping", "hope"),
        ("relational", "relat"),
        ("electrical", "electr"),
    ],
)
def test_words_get_their_classic_porter_stem(word: str, stem: str) -> None:
    assert tokenize(word) == [stem]


def test_splits_at_everything_not_alphanumeric_and_drops_single_letters() -> None:
    assert tokenize("warmdown_ratio=0.5; x") == ["warmdown", "ratio"]


def test_two_letter_words_keep_their_form() -> None:
    assert tokenize("LR as lr") == ["lr", "lr"]


def test_a_two_byte_single_letter_is_kept() -> None:
    assert tokenize("é") == ["é"]


@pytest.mark.parametrize("word", ["don", "ll", "isnt", "no", "not", "get", "got", "need", "might", "the"])
def test_stop_words_are_dropped(word: str) -> None:
    assert tokenize(word) == []


def test_the_stop_list_has_about_the_contracted_size() -> None:
    assert 150 <= len(STOP_WORDS) <= 260


def test_a_number_is_one_literal_in_any_spelling() -> None:
    assert literals("lr 0.04 or 0.040 or 4e-2") == ["0.04", "0.04", "0.04"]
    assert literals("2**17 tokens") == ["131072"]


def test_identifiers_and_commits_stay_whole() -> None:
    assert literals("set warmdown_ratio on H100 at 4f2a91c in train.py") == [
        "warmdown_ratio",
        "h100",
        "4f2a91c",
        "train.py",
    ]


@pytest.mark.parametrize("piece", ["x", "1", "a.", "a-", "_", "1e", "2**", "-", "0f", " ", "\n"])
def test_long_texts_take_time_in_proportion(piece: str) -> None:
    """A text of a megabyte once took minutes; a hang here is the failure."""
    text = piece * (1_000_000 // len(piece))
    assert isinstance(tokenize(text), list)
    assert isinstance(literals(text), list)
    assert text_key(text) != ""
    assert diff_key("+" + text) != ""
    assert isinstance(read_hyperparameters(text), dict)


def test_punctuation_of_the_sentence_is_not_part_of_a_literal() -> None:
    assert literals("(lr=0.04, depth-12, -0.5%). See train.py.") == ["0.04", "depth-12", "-0.5%", "train.py"]
