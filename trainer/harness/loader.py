"""Packed token rows as batches on the device, each row once per epoch in an order that the seed fixes.

A thread reads ahead. Every batch is a fresh array, and on CUDA fresh pinned memory, which torch reuses
only after the copy has ended: no batch can be overwritten while it is in flight.
"""

import json
import queue
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trainer.harness.failures import ContractError

BATCHES_AHEAD = 3


@dataclass(frozen=True)
class TrainRows:
    """The training side of a data set: rows are uint16 [count, context_length + 1], each begins with bos."""

    files: tuple[Path, ...]
    count: int
    context_length: int
    vocab_size: int
    bos: int


def open_train_rows(folder: Path) -> TrainRows:
    """Reads train.json. Raises ContractError when the folder is not the train side of a data set."""
    try:
        fields = json.loads((folder / "train.json").read_text(encoding="utf-8"))
        rows = TrainRows(
            files=tuple(folder / name for name in fields["files"]),
            count=int(fields["rows"]),
            context_length=int(fields["context_length"]),
            vocab_size=int(fields["vocab_size"]),
            bos=int(fields["bos"]),
        )
        size = sum(path.stat().st_size for path in rows.files)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise ContractError(f"{folder} is not the train folder of a prepared data set: {error}") from error
    if size != rows.count * (rows.context_length + 1) * 2:
        raise ContractError(
            f"{folder} has {size} bytes of rows, {rows.count} rows are stated: prepare it again"
        )
    return rows


class TokenLoader:
    """Batches (inputs, targets), each int64 [batch_rows, context_length] on the device.

    With several ranks, rank r takes every world-th row of the common order, so the rows of one step
    are the same as with one rank and the same global batch. checksum is the CRC-32 over the rows handed
    out so far, in order. Without prefetch a batch is read when it is asked for, by the caller's thread.
    """

    def __init__(
        self,
        rows: TrainRows,
        batch_rows: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        prefetch: bool = True,
    ) -> None:
        if rows.count < batch_rows * world:
            raise ContractError(
                f"the data set has {rows.count} rows, one batch takes {batch_rows * world}:"
                " lower DEVICE_BATCH_SIZE"
            )
        self.epoch = 1
        self.checksum = 0
        self._rows = rows
        self._batch_rows = batch_rows
        self._seed = seed
        self._device = device
        self._rank, self._world = rank, world
        length = rows.context_length + 1
        self._maps = [np.memmap(path, dtype=np.uint16, mode="r").reshape(-1, length) for path in rows.files]
        self._starts = np.cumsum([0] + [len(part) for part in self._maps])
        self._stop = threading.Event()
        self._ready: queue.Queue[tuple[int, npt.NDArray[np.uint16]]] = queue.Queue(BATCHES_AHEAD)
        self._batches = self._in_order()
        self._thread: threading.Thread | None = None
        if prefetch:
            self._thread = threading.Thread(target=self._read_ahead, name="token-loader", daemon=True)
            self._thread.start()

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch. Blocks until it has been read."""
        self.epoch, batch = next(self._batches) if self._thread is None else self._ready.get()
        self.checksum = zlib.crc32(batch.tobytes(), self.checksum)
        host = torch.from_numpy(batch.view(np.int16))
        if self._device.type == "cuda":
            host = host.pin_memory()
        tokens = host.to(self._device, non_blocking=True).to(torch.int64) & 0xFFFF
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _read_ahead(self) -> None:
        for item in self._batches:
            while not self._stop.is_set():
                try:
                    self._ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue
            if self._stop.is_set():
                return

    def _in_order(self) -> Iterator[tuple[int, npt.NDArray[np.uint16]]]:
        epoch = 0
        taken: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        while True:
            while len(taken) < self._batch_rows:
                epoch += 1
                order = np.random.default_rng([self._seed & (2**64 - 1), epoch]).permutation(self._rows.count)
                whole = len(order) - len(order) % self._world
                taken = np.concatenate([taken, order[:whole][self._rank :: self._world]])
            chosen, taken = taken[: self._batch_rows], taken[self._batch_rows :]
            yield epoch, self._gather(chosen)

    def _gather(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
        batch = np.empty((len(chosen), self._rows.context_length + 1), dtype=np.uint16)
        files = np.searchsorted(self._starts, chosen, side="right") - 1
        for number, part in enumerate(self._maps):
            here = np.nonzero(files == number)[0]
            if len(here):
                batch[here] = part[chosen[here] - self._starts[number]]
        return batch
