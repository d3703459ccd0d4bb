"""The timed choice of a backend: the fastest wins, what fails is left out, the file is read back."""

from pathlib import Path

import pytest
import torch

from trainer.harness.attention_choice import (
    AttentionShape,
    Choice,
    choice_file,
    choice_key,
    choose_timed,
    fastest,
    keep_choice,
    read_choice,
    time_layer,
)
from trainer.harness.failures import ContractError

SHAPE = AttentionShape(rows=2, length=64, heads=2, head_dim=8, windows=(8, 8, 64), documents=True)


def test_the_fastest_wins_and_what_cannot_run_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(backend: str, _window: int) -> float:
        if backend == "fa3":
            raise RuntimeError("no kernel image\nfor this device")
        return {"flex": 0.1, "varlen": 0.2}[backend]

    choice = fastest(["fa3", "flex", "varlen"], measure, (8,), 64)
    assert choice == Choice("flex", "timed", {"flex": 0.1, "varlen": 0.2})
    assert "attention fa3 cannot run here: no kernel image" in capsys.readouterr().err


def test_with_nothing_measured_the_first_in_order_is_used() -> None:
    def measure(_backend: str, _window: int) -> float:
        raise RuntimeError

    assert fastest(["flex", "sdpa"], measure, (8,), 64) == Choice("flex", "order", {})


@pytest.mark.parametrize(
    ("flex", "best", "asked"),
    [
        # Slower at the short window: the full one, which would be compiled, is not asked for.
        ({8: 5.0, 64: 1.0}, "varlen+cudnn", ["flex 8"]),
        ({8: 1.0, 64: 9.0}, "flex+cudnn", ["flex 8", "flex 64"]),
    ],
)  # fmt: skip
def test_what_cannot_win_any_more_is_not_compiled(
    flex: dict[int, float], best: str, asked: list[str]
) -> None:
    measured = []

    def measure(backend: str, window: int) -> float:
        measured.append(f"{backend} {window}")
        if backend.startswith("flex"):
            return flex[window]
        return 2.0 if window == 8 else 5.0 if backend == "varlen" else 4.0

    choice = fastest(["flex", "flex+cudnn", "varlen", "varlen+cudnn"], measure, (8, 8, 64), 64)
    assert (choice.backend, measured) == (best, ["varlen 8", "varlen 64", "varlen+cudnn 64", *asked])


def test_choices_of_several_shapes_are_kept_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    other = AttentionShape(2, 64, 2, 8, (8,))
    keys = [
        choice_key("GPU", "2.11", SHAPE),
        choice_key("GPU", "2.11", other),
        choice_key("GPU", "2.12", SHAPE),
    ]
    first, second, third = (folder / choice_file(key) for key in keys)
    assert read_choice(first, keys[0]) is None
    keep_choice(first, keys[0], Choice("flex", "timed", {"flex": 0.1, "varlen": 0.2}))
    keep_choice(second, keys[1], Choice("varlen", "timed", {"varlen": 0.2}))
    assert read_choice(first, keys[0]) == Choice("flex", "cached", {"flex": 0.1, "varlen": 0.2})
    assert read_choice(second, keys[1]) == Choice("varlen", "cached", {"varlen": 0.2})
    assert read_choice(third, keys[2]) is None
    assert read_choice(first, keys[1]) is None
    assert sorted(folder.iterdir()) == sorted([first, second])


@pytest.mark.parametrize("content", ["", "[]", '{"KEY": 3}', '{"KEY": {"backend": "x", "seconds": {}}}'])
def test_a_file_that_is_no_good_is_written_anew(tmp_path: Path, content: str) -> None:
    path, key = tmp_path / choice_file("KEY"), "KEY"
    path.write_text(content)
    assert read_choice(path, key) is None
    keep_choice(path, key, Choice("flex", "timed", {"flex": 0.1}))
    assert read_choice(path, key) == Choice("flex", "cached", {"flex": 0.1})


def test_of_several_that_time_at_once_the_first_decides(tmp_path: Path) -> None:
    path, key = tmp_path / choice_file("KEY"), "KEY"
    first = keep_choice(path, key, Choice("flex", "timed", {"flex": 0.1}))
    assert first == Choice("flex", "timed", {"flex": 0.1})
    second = keep_choice(path, key, Choice("varlen", "timed", {"varlen": 0.2}))
    assert second == Choice("flex", "cached", {"flex": 0.1})
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    timed = Choice("flex", "timed", {"flex": 0.1})
    assert keep_choice(tmp_path / "file" / choice_file("KEY"), "KEY", timed) == timed
    assert (tmp_path / "file").read_text() == ""


def test_a_named_backend_is_not_timed_and_a_cpu_has_no_choice(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert choose_timed("auto", cpu, SHAPE, tmp_path) == Choice("sdpa", "order", {})
    assert choose_timed("sdpa", cpu, SHAPE, tmp_path) == Choice("sdpa", "asked", {})
    with pytest.raises(ContractError, match="CUDA"):
        choose_timed("varlen", cpu, SHAPE, tmp_path)
    assert not any(tmp_path.iterdir())


def test_timing_runs_forward_and_backward_of_each_layer() -> None:
    assert time_layer("sdpa", torch.device("cpu"), SHAPE, window=8, repeats=1) > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("documents", [False, True])
def test_a_gpu_times_once_and_reads_the_choice_afterwards(tmp_path: Path, documents: bool) -> None:
    shape = AttentionShape(4, 512, 2, 128, (64, 512), documents)
    first = choose_timed("auto", torch.device("cuda"), shape, tmp_path)
    assert first.how == "timed"
    assert first.backend in first.seconds  # the others are given up where they could not win
    assert choose_timed("auto", torch.device("cuda"), shape, tmp_path) == Choice(
        first.backend, "cached", first.seconds
    )
