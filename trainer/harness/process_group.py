"""Several processes that train one model: torchrun starts them, this joins them.

Without torchrun there is one rank and every method is free.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ProcessGroup:
    """rank of world processes."""

    rank: int = 0
    world: int = 1
    control: Any = None  # a group over CPU memory, for decisions that must not wait for the device

    @property
    def leads(self) -> bool:
        """Whether this rank writes events and the checkpoint."""
        return self.rank == 0

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replaces each tensor by its mean over the ranks; one message a type."""
        if self.world == 1:
            return
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            torch.distributed.all_reduce(flat)
            flat.div_(self.world)
            parts = torch.split(flat, [tensor.numel() for tensor in group])
            for tensor, part in zip(group, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def gather_shares(self, share: torch.Tensor, count: int) -> torch.Tensor:
        """Joins what share_of(count) gave each rank, [n, ...], in rank order: [count, ...]."""
        if self.world == 1:
            return share
        missing = -(-count // self.world) - len(share)
        if missing:
            share = torch.cat([share, share.new_zeros((missing, *share.shape[1:]))])
        parts = [torch.empty_like(share) for _ in range(self.world)]
        torch.distributed.all_gather(parts, share.contiguous())
        return torch.cat(parts)[:count]

    def share_of(self, count: int) -> slice:
        """This rank's part of count items: equal shares, the last ones may be short or empty."""
        size = -(-count // self.world)
        return slice(self.rank * size, min((self.rank + 1) * size, count))

    def from_leader(self, value: float) -> float:
        """Rank 0's value, on all ranks: clocks differ, decisions must not."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        torch.distributed.broadcast(shared, 0, group=self.control)
        return float(shared.item())

    def leave(self) -> None:
        """Waits for all ranks, so that none ends before the checkpoint is written."""
        if self.world > 1:
            torch.distributed.barrier(group=self.control)
            torch.distributed.destroy_process_group()


def local_rank() -> int:
    """This process's number on its host, 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))  # noqa: TID251  torchrun passes it this way


def join_group(device_kind: str) -> ProcessGroup:
    """Joins the group that torchrun described in the environment, or makes a group of one.

    device_kind cuda takes NCCL, anything else gloo.
    """
    environment = os.environ  # noqa: TID251  torchrun passes rank and address this way
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1:
        return ProcessGroup()
    torch.distributed.init_process_group("nccl" if device_kind == "cuda" else "gloo")
    return ProcessGroup(
        rank=torch.distributed.get_rank(),
        world=world,
        control=torch.distributed.new_group(backend="gloo"),
    )
