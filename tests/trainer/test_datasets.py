"""Preparing data for the daemon: whatever fails in the process of its own arrives with its reason."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from services.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)
from tests.trainer.data.small_corpus import write_corpus
from trainer.datasets import Wanted, prepare_data
from trainer.presets import PRESETS


async def prepared(folder: Path, source: str) -> list[str]:
    """The stages that were told."""
    wanted = Wanted(source, 0, 0, 0, 0, PRESETS["tiny"])
    return [progress.stage async for progress in prepare_data(folder, wanted)]


async def test_progress_ends_with_the_data_set(tmp_path: Path) -> None:
    source = f"files:{write_corpus(tmp_path / 'corpus.jsonl')}"
    stages = await prepared(tmp_path / "data", source)
    assert stages[-1] == "ready"
    assert {"collect", "tokenizer", "pack"} <= set(stages)


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("absent.txt", None, NotFoundError, "CORPUS_NOT_FOUND"),
        ("short.txt", b"one line", FailedPreconditionError, "CORPUS_TOO_SMALL"),
        ("damaged.parquet", b"PAR1 and nothing else", DataLossError, "CORPUS_UNREADABLE"),
        ("damaged.jsonl", b"{", DataLossError, "CORPUS_UNREADABLE"),
    ],
)
async def test_a_corpus_that_is_no_use_is_named_with_its_reason(
    tmp_path: Path, name: str, content: bytes | None, kind: type[ServiceError], reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(kind) as caught:
        await prepared(tmp_path / "data", f"files:{tmp_path / name}")
    assert caught.value.reason == reason
    assert name in caught.value.message or reason == "CORPUS_TOO_SMALL"


async def test_an_unknown_source_and_a_folder_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="python, climbmix or files:PATH"):
        await prepared(tmp_path, "nonsense")
    (tmp_path / "file").write_text("")
    source = f"files:{write_corpus(tmp_path / 'corpus.jsonl')}"
    with pytest.raises(FailedPreconditionError, match="choose another --data") as caught:
        await prepared(tmp_path / "file" / "data", source)
    assert caught.value.reason == "DATA_UNUSABLE"


async def test_a_preparation_that_is_killed_can_be_asked_for_again(tmp_path: Path) -> None:
    wanted = Wanted(f"files:{write_corpus(tmp_path / 'corpus.jsonl')}", 0, 0, 0, 0, PRESETS["tiny"])
    with pytest.raises(UnavailableError, match="ask again") as caught:
        async for _ in prepare_data(tmp_path / "data", wanted):
            for child in psutil.Process().children(recursive=True):
                if "trainer.data" in child.cmdline():
                    child.kill()
    assert caught.value.reason == "PREPARATION_INTERRUPTED"
    assert (await prepared(tmp_path / "data", wanted.source))[-1] == "ready"
