"""Prepared data for the daemon: finding it by hash or preset, and preparing it in a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from services.errors import (
    ConfigurationError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from trainer.data.dataset import Dataset, list_datasets
from trainer.data.errors import (
    CorpusNotFoundError,
    CorpusTooSmallError,
    CorpusUnreadableError,
    DataDiskFullError,
    DatasetCorruptError,
    DownloadError,
)
from trainer.presets import Preset
from trainer.runs.process_tree import kill_tree

_PROGRESS = re.compile(r"^prepare: (?P<stage>[a-z]+) (?P<percent>\d+)%")
_DOWNLOAD = re.compile(r"^download: (?P<name>\S+) (?P<done>\d+) of (?P<total>\d+) MiB")
_KINDS = (
    CorpusTooSmallError,
    CorpusNotFoundError,
    CorpusUnreadableError,
    DownloadError,
    DatasetCorruptError,
)
_STAGES = {"split": "collect", "tokenizer": "tokenizer", "rows": "pack", "finish": "pack"}


@dataclass(frozen=True)
class Wanted:
    """A data set to make ready; sizes are the preset's where 0."""

    source: str
    vocabulary_size: int
    context_length: int
    num_shards: int
    download_workers: int
    preset: Preset


@dataclass(frozen=True)
class Progress:
    """total is 0 when unknown; dataset is set in the last one only."""

    stage: str
    done: int
    total: int
    unit: str
    dataset: Dataset | None = None


def find_data(folder: Path, data_hash: str, preset: Preset) -> Dataset:
    """The data set with this hash, or the preset's where it is empty. Raises FailedPreconditionError
    (DATA_NOT_FOUND, DATA_MISMATCH)."""
    datasets = list_datasets(folder)
    if data_hash:
        for dataset in datasets:
            if dataset.manifest.data_hash == data_hash:
                _refuse_mismatch(dataset, preset)
                return dataset
        raise FailedPreconditionError(
            f"no data set with data_hash {data_hash[:16]} below {folder}; call PrepareData first",
            reason="DATA_NOT_FOUND",
            metadata={"data_hash": data_hash},
        )
    wanted = Wanted("", 0, 0, 0, 0, preset)
    found = find_ready(folder, wanted)
    if found is None:
        raise FailedPreconditionError(
            f"no data set for preset {preset.name} below {folder}; run `autoresearch prepare`",
            reason="DATA_NOT_FOUND",
            metadata={"preset": preset.name},
        )
    return found


def find_ready(folder: Path, wanted: Wanted) -> Dataset | None:
    """A prepared data set of this source and shape; None where one must be made (or looked at again:
    the files of `files:PATH` may have changed)."""
    source = wanted.source or wanted.preset.source
    vocabulary = wanted.vocabulary_size or wanted.preset.vocab_size
    context = wanted.context_length or wanted.preset.context_length
    if source.startswith("files:"):
        return None
    for dataset in list_datasets(folder):
        manifest = dataset.manifest
        shape = (manifest.source, manifest.vocab_size, manifest.context_length)
        if shape == (source, vocabulary, context):
            return dataset
    return None


def _refuse_mismatch(dataset: Dataset, preset: Preset) -> None:
    manifest = dataset.manifest
    if (manifest.vocab_size, manifest.context_length) != (preset.vocab_size, preset.context_length):
        raise FailedPreconditionError(
            f"data set {manifest.dataset_id} has vocabulary {manifest.vocab_size} and context"
            f" {manifest.context_length}, preset {preset.name} wants {preset.vocab_size} and"
            f" {preset.context_length}",
            reason="DATA_MISMATCH",
            metadata={"data_hash": manifest.data_hash, "preset": preset.name},
        )


async def prepare_data(folder: Path, wanted: Wanted) -> AsyncIterator[Progress]:
    """Progress, then one with the data set. Raises InvalidArgumentError (UNKNOWN_DATA_SOURCE),
    FailedPreconditionError (CORPUS_TOO_SMALL, DATA_UNUSABLE), NotFoundError (CORPUS_NOT_FOUND), DataLossError
    (CORPUS_UNREADABLE, DATASET_CORRUPT), ResourceExhaustedError (STORE_FULL), UnavailableError
    (DOWNLOAD_FAILED, PREPARATION_INTERRUPTED)."""
    source = wanted.source or wanted.preset.source
    if source not in ("python", "climbmix") and not re.fullmatch(r"files:.+", source):
        raise InvalidArgumentError(
            f"dataset.source must be python, climbmix or files:PATH, not {source!r}",
            field="dataset.source",
            reason="UNKNOWN_DATA_SOURCE",
        )
    ready = find_ready(folder, wanted)
    if ready is not None:
        yield Progress("ready", 1, 1, "rows", ready)
        return
    process = await asyncio.create_subprocess_exec(
        *_command(folder, wanted, source),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        output = asyncio.create_task(process.stdout.read())
        last = ""
        async for raw in process.stderr:
            line = raw.decode("utf-8", "replace").strip()
            last = line or last
            if progress := _parse(line):
                yield progress
        code = await process.wait()
        text = (await output).decode("utf-8", "replace")
    finally:
        if process.returncode is None:
            await kill_tree(process.pid)
            await process.wait()
    if code != 0:
        raise _failure(code, last.removeprefix("error: "), text)
    digest = str(json.loads(text.splitlines()[-1])["data_hash"])
    dataset = next(found for found in list_datasets(folder) if found.manifest.data_hash == digest)
    yield Progress("ready", 1, 1, "rows", dataset)


async def ready_data(folder: Path, preset: Preset, say: Callable[[str], None]) -> Dataset:
    """The preset's data set below an absolute folder, prepared first where it is missing.

    say takes a line a stage. Raises ServiceError like prepare_data.
    """
    shown = ""
    async for progress in prepare_data(folder, Wanted("", 0, 0, 0, 0, preset)):
        if progress.dataset is not None:
            return progress.dataset
        if progress.stage != shown:
            shown = progress.stage
            say(f"prepare: {shown}")
    raise ConfigurationError("--data: the preparation gave no data set")


def _command(folder: Path, wanted: Wanted, source: str) -> list[str]:
    command = [sys.executable, "-m", "trainer.data", "prepare", "--json", "--data", str(folder)]
    command += ["--preset", wanted.preset.name, "--source", source]
    sizes = {
        "--vocab-size": wanted.vocabulary_size,
        "--context": wanted.context_length,
        "--num-shards": wanted.num_shards,
        "--download-workers": wanted.download_workers,
    }
    for flag, value in sizes.items():
        if value:
            command += [flag, str(value)]
    return command


def _parse(line: str) -> Progress | None:
    if match := _PROGRESS.match(line):
        return Progress(_STAGES.get(match["stage"], match["stage"]), int(match["percent"]), 100, "percent")
    if match := _DOWNLOAD.match(line):
        done, total = int(match["done"]) << 20, int(match["total"]) << 20
        return Progress("download", done, total, "bytes")
    return None


def _failure(code: int, last: str, output: str) -> ServiceError:
    """What the preparation said, as its own type: as JSON on its standard output where it has a reason."""
    if code == 2:
        return InvalidArgumentError(last, field="dataset", reason="UNKNOWN_DATA_SOURCE")
    if output.strip():
        said = json.loads(output.splitlines()[-1])
        if said["reason"] == DataDiskFullError.default_reason:
            return ResourceExhaustedError(said["message"], reason="STORE_FULL")
        kinds = (kind for kind in _KINDS if kind.default_reason == said["reason"])
        return next(kinds, InternalError)(said["message"])
    if code == 1:
        return FailedPreconditionError(last, reason="DATA_UNUSABLE")
    message = f"the preparation was ended (code {code}) and left nothing half made; ask again"
    return UnavailableError(message, reason="PREPARATION_INTERRUPTED")
