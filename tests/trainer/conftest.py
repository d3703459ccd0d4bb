"""Data that many tests share; nobody writes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.data.small_corpus import make_small_dataset, prepare_tiny_preset
from trainer.data.dataset import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small data set of real text, made here."""
    return make_small_dataset(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the set of the tiny preset."""
    return prepare_tiny_preset(tmp_path_factory.mktemp("data"))
