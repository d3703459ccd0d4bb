"""Several processes that train one model: torchrun starts them, this joins them.

Without torchrun there is one rank and every method is free.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Share:
    """Rows of a tensor, which hold what they should once wait() has returned them: on a device, for all that
    is queued there from then on."""

    rows: slice
    tensor: torch.Tensor
    work: Any = None

    def wait(self) -> torch.Tensor:
        if self.work is not None:
            self.work.wait()
        return self.tensor


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

    def sum_share(self, tensor: torch.Tensor) -> Share:
        """Begins to add up the ranks' tensors [n, ...]: each rank gets n / world rows of the sum, or all of
        them where n does not divide. The tensor must stay as it is until then."""
        count = len(tensor)
        if self.world == 1:
            return Share(slice(0, count), tensor)
        if count % self.world:
            return Share(slice(0, count), tensor, torch.distributed.all_reduce(tensor, async_op=True))
        size = count // self.world
        part = tensor.new_empty((size, *tensor.shape[1:]))
        work = torch.distributed.reduce_scatter_tensor(part, tensor.contiguous(), async_op=True)
        return Share(slice(self.rank * size, (self.rank + 1) * size), part, work)

    def gather(self, own: torch.Tensor, whole: torch.Tensor | None = None) -> Share:
        """Begins to put together what every rank has got from sum_share, `own` of this one: [n, ...]. It is
        written to `whole` where that is given; of that `own` may be a part."""
        if self.world == 1 or (whole is not None and len(own) == len(whole)):
            return Share(slice(0, len(own)), own)
        if whole is None:
            whole = own.new_empty((self.world * len(own), *own.shape[1:]))
        work = torch.distributed.all_gather_into_tensor(whole, own, async_op=True)
        return Share(slice(0, len(whole)), whole, work)

    def padded(self, count: int) -> int:
        """The least number from count on that the ranks can share equally."""
        return -(-count // self.world) * self.world

    def sum(self, tensor: torch.Tensor) -> None:
        """Replaces a tensor by its sum over the ranks."""
        if self.world > 1:
            torch.distributed.all_reduce(tensor)

    def from_leader(self, value: float) -> float:
        """Rank 0's value, on all ranks: clocks differ, decisions must not."""
        if self.world == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        torch.distributed.broadcast(shared, 0, group=self.control)
        return float(shared.item())

    def name_from_leader(self, name: str) -> str:
        """Rank 0's name, on all ranks."""
        if self.world == 1:
            return name
        names = [name]
        torch.distributed.broadcast_object_list(names, 0, group=self.control)
        return names[0]

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
