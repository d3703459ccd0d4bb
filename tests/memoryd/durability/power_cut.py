"""A disk that remembers the order of writes and syncs, and can be cut off at any point of it.

What a file held at its last sync survives a cut. Of what was written later, any subset of 512-byte sectors
may have reached the platter: that is what `DiskJournal.images` deals out, from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """`kind` is write, truncate, sync, delete, sync_folder or acknowledged."""

    kind: str
    name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class DiskJournal:
    operations: list[Operation] = field(default_factory=list)

    def acknowledge(self) -> None:
        """Notes that the caller was told of success."""
        self.operations.append(Operation("acknowledged"))

    def sync_folder(self) -> None:
        """Notes that the folder was synced: until then a deleted file may be there again after a cut."""
        self.operations.append(Operation("sync_folder"))

    def images(self, cuts: Sequence[int], seed: int) -> Iterator[tuple[int, dict[str, bytes]]]:
        """For each ascending position: acknowledgements before it, and the files after a power cut there."""
        rng = random.Random(seed)
        durable: dict[str, bytearray] = {}
        pending: dict[str, list[Operation]] = {}
        acknowledged = position = 0
        for cut in cuts:
            for operation in self.operations[position:cut]:
                if operation.kind == "acknowledged":
                    acknowledged += 1
                elif operation.kind == "sync":
                    for waiting in pending.pop(operation.name, []):
                        _perform(durable, waiting)
                elif operation.kind == "sync_folder":
                    for name in [name for name, ops in pending.items() if ops[-1].kind == "delete"]:
                        del pending[name]
                        durable.pop(name, None)
                else:
                    pending.setdefault(operation.name, []).append(operation)
            position = cut
            image = {name: bytearray(data) for name, data in durable.items()}
            for waiting_list in pending.values():
                for waiting in waiting_list:
                    _perform_torn(image, waiting, rng)
            yield acknowledged, {name: bytes(data) for name, data in image.items()}


def _perform(files: dict[str, bytearray], operation: Operation) -> None:
    if operation.kind == "delete":
        files.pop(operation.name, None)
        return
    data = files.setdefault(operation.name, bytearray())
    if operation.kind == "truncate":
        del data[operation.offset :]
        return
    end = operation.offset + len(operation.data)
    if len(data) < end:
        data.extend(bytes(end - len(data)))
    data[operation.offset : end] = operation.data


def _perform_torn(files: dict[str, bytearray], operation: Operation, rng: random.Random) -> None:
    if operation.kind != "write":
        if rng.random() < 0.5:
            _perform(files, operation)
        return
    for start in range(0, len(operation.data), SECTOR):
        if rng.random() < 0.5:
            piece = operation.data[start : start + SECTOR]
            _perform(files, Operation("write", operation.name, operation.offset + start, piece))


class RecordingVfs(apsw.VFS):
    """The system's files, with every change written into a journal. `fail_sync` makes that sync fail."""

    def __init__(self, name: str, journal: DiskJournal, *, fail_sync: int = 0, default: bool = False) -> None:
        self.journal = journal
        self.fail_sync = fail_sync
        self.syncs = 0
        self.below = apsw.vfs_names()[0]  # by name: "" would mean this one once it is the default
        super().__init__(
            name, self.below, makedefault=default, exclude={"xDlOpen", "xDlSym", "xDlClose", "xDlError"}
        )

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _RecordingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.journal.operations.append(Operation("delete", Path(filename).name))
        if syncdir:
            self.journal.operations.append(Operation("sync", Path(filename).name))


class _RecordingFile(apsw.VFSFile):
    def __init__(self, vfs: RecordingVfs, name: Any, flags: list[int]) -> None:
        super().__init__(vfs.below, name, flags)
        self._vfs = vfs
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else ""

    def _note(self, operation: Operation) -> None:
        if self._name:
            self._vfs.journal.operations.append(operation)

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._note(Operation("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._note(Operation("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:
        self._vfs.syncs += 1
        if self._vfs.syncs == self._vfs.fail_sync:
            raise apsw.IOError("the disk failed to sync")
        super().xSync(flags)
        self._note(Operation("sync", self._name))
