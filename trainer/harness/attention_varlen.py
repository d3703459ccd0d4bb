"""Attention over packed sequences, torch.nn.attention.varlen_attn: rows or documents laid end to end.

Half precision on CUDA, heads of at most 256; attend() takes the dense mask for others. A training batch may
hold at most one document per SHORTEST_DOCUMENT tokens on average: the table of sequence bounds has a fixed
size, so that nothing waits for the device and no graph is compiled anew. A batch beyond it gives NaN, which
ends the run as NOT_FINITE, and never another mask. Where gradients are off there is no such bound.
"""

import inspect
from dataclasses import dataclass
from typing import Any

import torch

SHORTEST_DOCUMENT = 32


@dataclass(frozen=True)
class Packing:
    """Bounds of the sequences, int32 [N + 1], from 0 to B x T; longest is a sequence's greatest length.

    sound multiplies the values: 1, or NaN where the bounds had no room for all documents; None: no need.
    """

    bounds: torch.Tensor
    longest: int
    sound: torch.Tensor | None = None


def pack_rows(rows: int, length: int, device: torch.device) -> Packing:
    """Each row is a sequence."""
    bounds = torch.arange(0, rows * length + 1, length, dtype=torch.int32, device=device)
    return Packing(bounds, length)


def pack_documents(documents: torch.Tensor) -> Packing:
    """Each document of each row is a sequence; documents: int [B, T], never falling along a row."""
    rows, length = documents.shape
    total = rows * length
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    room = min(total, max(rows, total // SHORTEST_DOCUMENT))
    number = begins.view(-1).cumsum(0)
    count = number[-1]
    if not torch.is_grad_enabled() and int(count) > room:
        room = total
    # Bounds that no document fills are sequences of no length at the end. The last place takes the
    # positions that begin nothing, and those that do not fit.
    bounds = torch.full((room + 2,), total, dtype=torch.int32, device=documents.device)
    position = torch.arange(total, dtype=torch.int32, device=documents.device)
    place = torch.where(begins.view(-1), (number - 1).clamp(max=room + 1), room + 1)
    bounds.scatter_(0, place, position)
    bounds[room] = total
    one = torch.ones((), device=documents.device)
    return Packing(bounds[: room + 1], length, torch.where(count > room, one * torch.nan, one))


def attend_varlen(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, packing: Packing
) -> torch.Tensor:
    """Attention output [B, T, H, D] of queries, keys, values [B, T, H, D]; window -1 is all earlier keys."""
    from torch.nn.attention.varlen import varlen_attn

    if packing.sound is not None:
        v = v * packing.sound.to(v.dtype)
    flat = [x.flatten(0, 1).contiguous() for x in (q, k, v)]
    bounds, longest = packing.bounds, packing.longest
    attention: Any = varlen_attn
    mixed = attention(*flat, bounds, bounds, longest, longest, window_size=(window, 0))
    assert isinstance(mixed, torch.Tensor)
    return mixed.view(q.shape)


def suits_varlen(q: torch.Tensor) -> bool:
    """Whether the kernel takes queries of this type and head width."""
    return q.dtype in (torch.bfloat16, torch.float16) and q.size(-1) % 8 == 0 and q.size(-1) <= 256


def varlen_works() -> bool:
    """Whether this torch has varlen_attn with windows (2.11 and later), was built with the kernel, and the
    device can run it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    windows = "window_size" in inspect.signature(varlen_attn).parameters
    built = torch.version.cuda is not None and torch.backends.cuda.is_flash_attention_available()
    return windows and built and torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)


def varlen_runs() -> bool:
    """Whether it works and really computes something here."""
    if not varlen_works():
        return False
    q = torch.ones((1, 16, 1, 64), dtype=torch.bfloat16, device="cuda")
    try:
        mixed = attend_varlen(q, q, q, 4, pack_rows(1, 16, q.device))
        return bool((mixed == 1).all())
    except Exception:  # a kernel that does not run here raises whatever it likes
        return False
