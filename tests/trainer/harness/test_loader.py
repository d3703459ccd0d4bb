"""The loader: each row once an epoch, in the seed's order, never overwritten."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.data.dataset import Dataset
from trainer.harness.failures import ContractError
from trainer.harness.loader import TokenLoader, open_train_rows

CPU = torch.device("cpu")


def stored_rows(dataset: Dataset) -> np.ndarray:
    parts = [np.fromfile(p, dtype=np.uint16) for p in sorted(dataset.train_folder.glob("*.bin"))]
    return np.concatenate(parts).reshape(-1, dataset.manifest.context_length + 1)


def take(loader: TokenLoader, count: int) -> list[torch.Tensor]:
    batches = []
    for _ in range(count):
        inputs, targets = loader.next()
        assert inputs.dtype == torch.int64
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        batches.append(torch.cat([inputs, targets[:, -1:]], dim=1))
    loader.close()
    return batches


def test_an_epoch_is_every_row_once_and_the_checksum_is_theirs(dataset: Dataset) -> None:
    rows = open_train_rows(dataset.train_folder)
    stored = stored_rows(dataset)
    loader = TokenLoader(rows, 7, seed=3, device=CPU)
    batches = take(loader, rows.count // 7)
    seen = torch.cat(batches).numpy().astype(np.uint16)
    whole = {row.tobytes() for row in stored}
    assert len(stored) - len(seen) < 7
    assert {row.tobytes() for row in seen} <= whole
    assert len({row.tobytes() for row in seen}) >= len(seen) - (len(stored) - len(whole))
    assert loader.checksum == zlib.crc32(seen.tobytes())
    assert loader.epoch == 1


def test_the_seed_fixes_the_order(dataset: Dataset) -> None:
    rows = open_train_rows(dataset.train_folder)
    first, again, other = (take(TokenLoader(rows, 4, seed, CPU), 3) for seed in (2**63 + 5, 2**63 + 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_reading_when_due_gives_the_batches_of_reading_ahead(dataset: Dataset) -> None:
    rows = open_train_rows(dataset.train_folder)
    ahead, due = TokenLoader(rows, 8, 3, CPU), TokenLoader(rows, 8, 3, CPU, prefetch=False)
    for one, other in zip(take(ahead, 5), take(due, 5), strict=True):
        assert torch.equal(one, other)
    assert ahead.checksum == due.checksum


def test_a_new_epoch_has_another_order(dataset: Dataset) -> None:
    rows = open_train_rows(dataset.train_folder)
    loader = TokenLoader(rows, rows.count, seed=1, device=CPU)
    first, second = take(loader, 2)
    assert loader.epoch == 2
    assert not torch.equal(first, second)
    assert torch.equal(first.sort(dim=0).values, second.sort(dim=0).values)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_take_the_rows_that_one_rank_would(dataset: Dataset, world: int) -> None:
    rows = open_train_rows(dataset.train_folder)
    alone = take(TokenLoader(rows, 4 * world, 9, CPU), 3)
    shares = [take(TokenLoader(rows, 4, 9, CPU, rank, world), 3) for rank in range(world)]
    for step in range(3):
        together = torch.cat([share[step] for share in shares])
        assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, alone[step].tolist()))


def test_a_folder_without_rows_and_a_cut_file_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="not the train folder"):
        open_train_rows(tmp_path)
    for path in dataset.train_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = next(tmp_path.glob("*.bin"))
    name.write_bytes(name.read_bytes()[:-2])
    with pytest.raises(ContractError, match="prepare it again"):
        open_train_rows(tmp_path)


def test_a_batch_larger_than_the_data_is_refused(dataset: Dataset) -> None:
    rows = open_train_rows(dataset.train_folder)
    with pytest.raises(ContractError, match="DEVICE_BATCH_SIZE"):
        TokenLoader(rows, rows.count + 1, 1, CPU)
