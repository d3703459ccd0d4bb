"""Wrong flags of the verbs: one line that names the flag and the way out."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.errors import ConfigurationError, UnavailableError
from trainer.bench.daemon import main as bench
from trainer.data.__main__ import main as prepare
from trainer.evaluate import main as evaluate
from trainer.sandbox.candidate_plan import refuse_shown
from trainer.train_verb import _seed
from trainer.train_verb import main as train


@pytest.mark.parametrize(
    ("verb", "flags", "words"),
    [
        (train, ["--preset", "nope"], "--preset: invalid choice: 'nope'"),
        (train, ["--tokens", "-1"], "--tokens: -1 must be positive; see python -m trainer train --help"),
        (bench, ["--repeats", "x"], "--repeats: invalid int value"),
    ],
)
def test_a_wrong_flag_is_a_configuration_error(
    verb: Callable[[list[str]], int], flags: list[str], words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        verb(flags)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "flags", "words"),
    [
        (prepare, ["prepare", "--preset", "nope"], "error: --preset: invalid choice"),
        (evaluate, ["train.py"], "error: TRAIN_PY, CHECKPOINT and DATASET are needed; see"),
        (evaluate, ["a", "b", "c", "--threads", "x"], "error: --threads: invalid int value"),
    ],
)
def test_programs_of_their_own_print_one_line(
    verb: Callable[[list[str]], int], flags: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verb(flags) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(words)
    assert shown.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_data_folder_that_cannot_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("some text")
    source = f"files:{tmp_path}"
    assert prepare(["prepare", "--preset", "tiny", "--source", source, "--data", "/proc/x"]) == 1
    assert (
        "error: cannot use /proc/x: No such file or directory; choose another --data"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "place", [Path(sys.prefix), Path(sys.prefix) / "lab" / "data", Path("/usr/share/data")]
)
def test_a_folder_that_candidates_may_read_is_refused(place: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^--data: .* lies in /.*, which every candidate may read"):
        refuse_shown("--data", place)


def test_another_folder_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "inward").symlink_to(sys.prefix)
    refuse_shown("--data", tmp_path)
    refuse_shown("--data", Path(f"{sys.prefix}-data"))
    with pytest.raises(ConfigurationError, match="--state"):
        refuse_shown("--state", tmp_path / "inward" / "state")


async def test_an_entropyd_that_is_not_there_is_named_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError, match=rf"^--entropy: 127\.0\.0\.1:{port} gave no seed; .*--seed"):
        await _seed(argparse.Namespace(seed=None, entropy=f"127.0.0.1:{port}"))
