"""Data that every test of a whole run shares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the set of the tiny preset; nobody writes to it."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "trainer.data", "prepare", "--preset", "tiny", "--data", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder
