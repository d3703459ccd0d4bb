"""One small data set for all tests of this folder."""

import pytest

from tests.trainer.data.small_corpus import make_small_dataset
from trainer.data.dataset import Dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_small_dataset(tmp_path_factory.mktemp("small"))
