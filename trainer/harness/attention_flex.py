"""FlexAttention: compiled, with block masks that need no look at every pair of positions.

Document numbers never fall along a row, so the smallest and the largest of each block of 128 positions say
which blocks can see each other and which see each other whole: a block mask for new documents is arithmetic
on [B, T / 128, T / 128], where create_block_mask evaluates [B, T, T] anew for each batch.
"""

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

BLOCK = 128


def attend_flex(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, blocks: Any) -> torch.Tensor:
    """Attention output [B, T, H, D] of queries, keys, values [B, T, H, D] under a block mask."""
    from torch.nn.attention.flex_attention import flex_attention

    flex = flex_attention if torch.compiler.is_compiling() else _compiled_flex_attention()
    mixed = flex(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), block_mask=blocks)
    assert isinstance(mixed, torch.Tensor)
    return mixed.transpose(1, 2)


def block_masks(
    length: int, windows: tuple[int, ...], documents: torch.Tensor | None, device: torch.device
) -> dict[int, Any]:
    """A block mask for each window. documents: int [B, length], never falling along a row, or None."""
    distinct = sorted(set(windows))
    if documents is None:
        return {window: _causal_blocks(length, window, str(device)) for window in distinct}
    return {window: _document_blocks(length, window, documents) for window in distinct}


def visible_blocks(length: int, window: int, documents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which key blocks a query block sees in part, and which whole: two bool [B, blocks, blocks].

    In part is an upper bound: a block that is named may turn out to hold no visible pair.
    """
    count = -(-length // BLOCK)
    padded = F.pad(documents, (0, count * BLOCK - length))
    padded[:, length:] = documents[:, -1:]
    blocks = padded.view(documents.size(0), count, BLOCK)
    first, last = blocks[:, :, 0], blocks[:, :, -1]
    index = torch.arange(count, device=documents.device)
    apart = (index[:, None] - index[None, :]) * BLOCK
    seen = (apart >= 0) & (apart - (BLOCK - 1) <= window)
    whole = (apart > 0) & (apart + (BLOCK - 1) <= window)
    share_document = last[:, None, :] >= first[:, :, None]
    one_document = first[:, None, :] == last[:, :, None]
    full = whole & one_document
    return seen & share_document & ~full, full


@lru_cache(maxsize=1)
def _compiled_flex_attention() -> Any:
    """FlexAttention for a model that is not compiled as a whole: uncompiled it builds all scores."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@lru_cache(maxsize=32)
def _causal_blocks(length: int, window: int, device: str) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(_b: torch.Tensor, _h: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i >= j) & (i - j <= window)

    return create_block_mask(visible, None, None, length, length, device=device)


def _document_blocks(length: int, window: int, documents: torch.Tensor) -> Any:
    from torch.nn.attention.flex_attention import BlockMask

    def visible(b: torch.Tensor, _h: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i >= j) & (i - j <= window) & (documents[b, i] == documents[b, j])

    partial, full = visible_blocks(length, window, documents)
    return BlockMask.from_kv_blocks(
        *_counted(partial), *_counted(full), BLOCK_SIZE=BLOCK, mask_mod=visible, seq_lengths=(length, length)
    )


def _counted(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks each query block sees, int32 [B, 1, blocks], and which, those first."""
    counts = mask.sum(dim=-1, dtype=torch.int32)
    order = torch.argsort(mask.to(torch.int32), dim=-1, descending=True, stable=True).to(torch.int32)
    return counts[:, None].contiguous(), order[:, None].contiguous()
