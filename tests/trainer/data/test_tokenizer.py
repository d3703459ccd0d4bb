"""The tokenizer: lossless, exact in bytes, stored as text with a hash."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.dataset import Dataset
from trainer.data.errors import CorpusTooSmallError, DatasetCorruptError
from trainer.data.tokenizer import (
    RANKS_FILE,
    SPECIAL_TOKENS,
    Tokenizer,
    load_token_bytes,
    load_tokenizer,
    train_tokenizer,
)

SINGLE_BYTES = Tokenizer({bytes([value]): value for value in range(256)})


def test_specials_stand_at_the_end_and_the_first_is_bos(dataset: Dataset) -> None:
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    assert tokenizer.vocab_size == 512
    assert tokenizer.bos == 512 - len(SPECIAL_TOKENS)


@settings(max_examples=60, deadline=None)
@given(st.text())
def test_decoding_gives_the_text_back_and_bytes_add_up(text: str) -> None:
    tokens = SINGLE_BYTES.encode(text)
    assert SINGLE_BYTES.decode(tokens) == text
    assert int(SINGLE_BYTES.token_bytes()[tokens].sum()) == len(text.encode())


def test_trained_tokens_cover_the_bytes_of_a_text_exactly(dataset: Dataset) -> None:
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    exact, legacy = load_token_bytes(dataset.tokenizer_folder)
    text = "def größe(x):\n    return '日本語 🎉' * 1234567\n"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert int(exact[tokens].sum()) == len(text.encode())
    assert int(legacy[tokens].sum()) > len(text.encode())  # partial characters count 3 bytes there
    assert exact.dtype == np.int32
    assert list(exact[-4:]) == [0, 0, 0, 0]


def test_names_of_specials_in_a_text_are_plain_text(dataset: Dataset) -> None:
    tokenizer = load_tokenizer(dataset.tokenizer_folder)
    assert tokenizer.bos not in tokenizer.encode(f"x {SPECIAL_TOKENS[0]} y")


def test_numbers_are_split_in_pairs_of_digits() -> None:
    tokenizer = train_tokenizer(["1234 5678 9012 " * 50 + "the cat sat on the mat " * 50], 274)
    assert all(len(token) <= 2 for token in tokenizer.ranks if token.isdigit())


def test_a_corpus_without_enough_pairs_is_refused_by_name() -> None:
    with pytest.raises(CorpusTooSmallError, match="smaller --vocab-size"):
        train_tokenizer(["abc"], 2048)


def test_a_changed_ranks_file_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    load_tokenizer(dataset.tokenizer_folder).save(tmp_path)
    raw = (tmp_path / RANKS_FILE).read_bytes()
    (tmp_path / RANKS_FILE).write_bytes(raw.replace(b" 300\n", b" 301\n"))
    with pytest.raises(DatasetCorruptError, match="recorded hash"):
        load_tokenizer(tmp_path)
