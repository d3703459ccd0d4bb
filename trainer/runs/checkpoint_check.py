"""Whether what a candidate left is a checkpoint: plain files, bounded, safetensors, true facts."""

from __future__ import annotations

import json
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.dataset import hash_file
from trainer.harness.checkpoint_names import DESCRIPTION_FILE, WEIGHTS_FILE

LARGEST_DESCRIPTION = 1 << 20
LARGEST_HEADER = 100 << 20
TENSOR_TYPES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


class BadCheckpointError(Exception):
    """Says in one line what is wrong."""


@dataclass(frozen=True)
class CheckedCheckpoint:
    """A checkpoint that may be loaded. facts is the whole description."""

    folder: Path
    weights_hash: str
    num_parameters: int
    facts: dict[str, Any]
    weights_bytes: int = 0


def take_checkpoint(out: Path, target: Path, largest_bytes: int) -> CheckedCheckpoint:
    """Moves the two files out of the candidate's folder, once all its processes are gone, and checks them.
    What an earlier daemon has moved already is taken as it is: no candidate reaches `target`.

    Raises BadCheckpointError.
    """
    target.mkdir(parents=True, exist_ok=True)
    _take(out / WEIGHTS_FILE, target / WEIGHTS_FILE, largest_bytes)
    _take(out / DESCRIPTION_FILE, target / DESCRIPTION_FILE, LARGEST_DESCRIPTION)
    facts = _read_description(target / DESCRIPTION_FILE)
    parameters = count_parameters(target / WEIGHTS_FILE)
    digest = hash_file(target / WEIGHTS_FILE)
    if facts.get("weights_sha256") != digest:
        raise BadCheckpointError(f"{DESCRIPTION_FILE} names other weights than {WEIGHTS_FILE} holds")
    size = (target / WEIGHTS_FILE).stat().st_size
    return CheckedCheckpoint(target, digest, parameters, facts, size)


def _take(source: Path, target: Path, largest_bytes: int) -> None:
    try:
        found = os.lstat(source)
    except OSError as error:
        if target.is_file():
            return
        raise BadCheckpointError(f"train() left no {source.name}") from error
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise BadCheckpointError(f"{source.name} is a link or no plain file")
    if found.st_size > largest_bytes:
        raise BadCheckpointError(
            f"{source.name} has {found.st_size} bytes, at most {largest_bytes} are allowed"
        )
    os.replace(source, target)
    os.chmod(target, 0o600)
    if hasattr(os, "chown"):
        os.chown(target, os.getuid(), os.getgid())  # a candidate that was another user gives it up


def _read_description(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("config"), dict):
        raise BadCheckpointError(f"{path.name} has no `config` object")
    return facts


def count_parameters(path: Path) -> int:
    """Elements of all tensors in a safetensors file, whose header is checked against its size."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise BadCheckpointError(f"{path.name} is not a safetensors file")
        try:
            header = json.loads(stream.read(length))
            entries = [(k, v) for k, v in header.items() if k != "__metadata__"]
            return sum(_count(name, entry, size - 8 - length) for name, entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadCheckpointError(f"{path.name} has a damaged header: {error}") from error


def _count(name: str, entry: dict[str, Any], data_bytes: int) -> int:
    first, last = entry["data_offsets"]
    count = 1
    for dimension in entry["shape"]:
        count *= int(dimension)
    if not 0 <= first <= last <= data_bytes or last - first != count * TENSOR_TYPES[entry["dtype"]]:
        raise ValueError(f"tensor {name!r} does not fit its place")
    return count
