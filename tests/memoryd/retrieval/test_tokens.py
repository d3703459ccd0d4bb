"""The tokenizer and its stems."""

from __future__ import annotations

import pytest

from memoryd.stopwords import STOP_WORDS
from memoryd.tokens import literals, tokenize


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
