"""Data that many tests share; nobody writes to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.data.small_corpus import make_small_dataset
from trainer.data.dataset import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small data set of real text, made here."""
    return make_small_dataset(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the set of the tiny preset."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "trainer.data", "prepare", "--preset", "tiny", "--data", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder
