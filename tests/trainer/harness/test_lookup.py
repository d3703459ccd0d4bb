"""What followed before: in the row against a plain search, in the rows trained on against a dictionary."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.template.tiny import run_tiny
from trainer.data.dataset import Dataset
from trainer.harness.loader import open_train_rows
from trainer.harness.lookup import Memory, recall

NONE = 99


def draw(seed: int, rows: int, length: int, kinds: int) -> torch.Tensor:
    return torch.randint(0, kinds, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("length", [1, 7, 64, 100])
def test_recall_finds_what_a_plain_search_finds(length: int) -> None:
    tokens, lengths = draw(length, 3, length, 5), [3, 1, 2]
    found = recall(tokens, lengths, NONE)
    assert found.shape == (3, 3, length)
    for n, of_length in zip(lengths, found.tolist(), strict=True):
        for row, answers in zip(tokens.tolist(), of_length, strict=True):
            for place in range(n - 1, length):
                now = row[place - n + 1 : place + 1]
                before = [j for j in range(n - 1, place) if row[j - n + 1 : j + 1] == now]
                assert answers[place] == (row[before[-1] + 1] if before else NONE)


def test_memory_counts_as_branches_are_predicted() -> None:
    kept = Memory([2], bits=12)
    row = torch.arange(10)[None]

    def after(target: int) -> tuple[int, int]:
        targets = row + 1
        targets[0, 5] = target
        kept.add(row, targets)
        followed, sure = kept(row)
        assert followed[0, 0, 7] == 8
        return int(followed[0, 0, 5]), int(sure[0, 0, 5])

    assert kept(row)[1].unique().tolist() == [-1]
    assert [after(6) for _ in range(9)] == [(6, min(i, 7)) for i in range(9)]
    assert [after(50)[1] for _ in range(7)] == [6, 5, 4, 3, 2, 1, 0]
    assert [after(50), after(50), after(51), after(51)] == [(50, 0), (50, 1), (50, 0), (51, 0)]


def test_memory_is_what_a_dictionary_would_be() -> None:
    lengths = [1, 3]
    kept = Memory(lengths, bits=24)
    expected: dict[tuple[int, ...], tuple[int, int]] = {}
    for step in range(20):
        rows = draw(step, 4, 40, 6)
        tokens, targets = rows[:, :-1], rows[:, 1:]
        noted: dict[tuple[int, ...], tuple[int, int]] = {}
        for n in lengths:
            for row, half in zip(rows.tolist(), kept._half(tokens)[:, 0].tolist(), strict=True):
                for place in range(n - 1, 39):
                    key, target = (half, *row[place - n + 1 : place + 1]), row[place + 1]
                    token, sure = expected.get(key, (target, -1))
                    left = (sure - 1, token) if sure > 0 else (0, target)
                    if token == target:
                        left = min(sure + 1, 7), token
                    noted[key] = max(left, noted.get(key, left))
        expected |= {key: (token, sure) for key, (sure, token) in noted.items()}
        kept.add(tokens, targets)
    tokens = draw(99, 8, 40, 6)
    followed, sure = kept(tokens)
    for k, n in enumerate(lengths):
        for b, row in enumerate(tokens.tolist()):
            for place in range(n - 1, 40):
                key = tuple(row[place - n + 1 : place + 1])
                known = [expected[half, *key] for half in (0, 1) if (half, *key) in expected]
                if len(known) == 2 and known[0][0] == known[1][0]:
                    known = [(known[0][0], min(7, known[0][1] + known[1][1] + 1))]
                best = max(known, key=lambda one: one[1], default=(None, -1))  # the first of equals
                assert sure[k, b, place] == best[1]
                assert best[1] < 0 or followed[k, b, place] == best[0]


def test_ngrams_that_share_an_entry_are_told_apart() -> None:
    kept = Memory([4], bits=1)
    rows = draw(1, 16, 64, 500)
    kept.add(rows[:, :-1], rows[:, 1:])
    _, sure = kept(draw(2, 16, 63, 500))
    assert (sure >= 0).float().mean() < 0.01  # not a half, as without a check


def test_rows_that_return_do_not_find_themselves() -> None:
    kept = Memory([3, 5], bits=16)
    rows = draw(3, 32, 64, 50)
    tokens, targets = rows[:, :-1], rows[:, 1:]
    kept.add(tokens, targets)
    halves = kept._half(tokens)[:, 0]
    assert 5 < halves.sum() < 27
    followed, sure = kept(tokens)
    assert (followed[1] == targets)[sure[1] >= 0].float().mean() > 0.99
    assert (sure[1] >= 0).float().mean() > 0.99
    kept.rows_return.fill_(True)
    _, sure = kept(tokens)
    assert (sure[1] >= 0).float().mean() < 0.2
    # a copy with another beginning is another row: it may fall in the other half, and then finds the first
    copy = tokens.repeat(8, 1)
    copy[:, 0] = torch.arange(8).repeat_interleave(32) + 100
    other = kept._half(copy)[:, 0] != halves.repeat(8)
    _, sure = kept(copy)
    assert (sure[1, other, 12:] >= 0).float().mean() > 0.99
    assert (sure[1, ~other, 12:] >= 0).float().mean() < 0.2


def test_the_order_of_rows_leaves_no_trace() -> None:
    """Several ranks put theirs together in another one, and entries are written in parallel."""
    rows = draw(4, 64, 1025, 3)
    found = []
    for order in (torch.arange(64), torch.arange(63, -1, -1)):
        kept = Memory([1, 2, 3], bits=5)
        kept.add(rows[order, :-1], rows[order, 1:])
        found.append(kept.slots.clone())
    assert torch.equal(*found)  # the last entry, for what is not kept, included
    assert (found[0] > 0).sum() > 39


@pytest.mark.long
def test_memory_is_filled_in_the_first_pass_and_goes_into_the_checkpoint(
    tmp_path: Path, dataset: Dataset
) -> None:
    rows = open_train_rows(dataset.train_folder)
    steps = rows.count // 64
    changes: dict[str, Any] = {
        "MEMORY": "2 4",
        "DEPTH": 1,
        "DEVICE_BATCH_SIZE": 64,
        "TOTAL_BATCH_SIZE": 64 * 64,
    }
    kept = []
    for share in (0.5, 1.0, 1.2):
        figures, out = run_tiny(tmp_path / str(share), dataset, int(share * steps), **changes)
        assert figures["epoch"] == (2 if share > 1 else 1)
        weights = load_file(out / "model.safetensors")
        assert not any("rows_return" in name for name in weights)
        kept.append(weights["lookup.memory.slots"][:-1])
    half, whole, more = kept
    assert 0 < (half > 0).sum() < (whole > 0).sum()
    assert (more != whole).float().mean() < 1e-3  # but for the batch in which the first pass ends
