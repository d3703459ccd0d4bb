"""Causal attention with windows and document masks, the same masks in every backend.

Query i sees key j exactly when 0 <= i - j <= window, and, with document ids, when both stand in the
same document. Tensors are [B, T, H, D]; window counts the earlier keys in sight, so T - 1 or more is
full attention.

Backends: `sdpa` everywhere (explicit mask where the kernel's own causal mask is not enough), `flex`
(FlexAttention, compiled, CUDA with Triton), `fa3` (flash_attn_interface, where installed). The backend
stands in the result of a run; results of different backends are not compared silently.
"""

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F

from trainer.harness.failures import ContractError

BACKENDS = ("fa3", "flex", "sdpa")


@dataclass(frozen=True)
class MaskPlan:
    """Masks of one forward pass: made once, used by every layer.

    blocks holds FlexAttention's block mask per window; the other backends need none.
    """

    backend: str
    length: int
    documents: torch.Tensor | None
    blocks: dict[int, Any]


def choose_backend(name: str, device_kind: str, masks_documents: bool) -> str:
    """The backend for a device. Raises ContractError when a named one cannot do it."""
    if name != "auto":
        if name not in BACKENDS:
            raise ContractError(f"attention must be auto or one of {', '.join(BACKENDS)}, not {name!r}")
        if name == "fa3" and masks_documents:
            raise ContractError("attention fa3 has no document mask here; use flex or sdpa")
        if name != "sdpa" and device_kind != "cuda":
            raise ContractError(f"attention {name} needs a CUDA device; use sdpa")
        return name
    if device_kind != "cuda":
        return "sdpa"
    if not masks_documents and _fa3_works():
        return "fa3"
    return "flex" if _flex_works() else "sdpa"


def plan_masks(
    backend: str, length: int, windows: tuple[int, ...], documents: torch.Tensor | None, device: torch.device
) -> MaskPlan:
    """Prepares the masks that the given windows need. documents: int [B, length] or None."""
    blocks: dict[int, Any] = {}
    if backend == "flex":
        for window in sorted(set(windows)):
            if documents is None:
                blocks[window] = _causal_blocks(length, window, str(device))
            else:
                blocks[window] = _document_blocks(length, window, documents)
    return MaskPlan(backend, length, documents, blocks)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, plan: MaskPlan) -> torch.Tensor:
    """Attention output [B, T, H, D] for queries, keys and values [B, T, H, D]; scale 1/sqrt(D)."""
    if plan.backend == "fa3":
        from flash_attn_interface import flash_attn_func

        left = -1 if window >= plan.length - 1 else window
        answer = flash_attn_func(q, k, v, causal=True, window_size=(left, 0))
        out: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
        return out
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if plan.backend == "flex":
        from torch.nn.attention.flex_attention import flex_attention

        flex = flex_attention if torch.compiler.is_compiling() else _compiled_flex_attention()
        mixed = flex(q, k, v, block_mask=plan.blocks[window])
        assert isinstance(mixed, torch.Tensor)
        return mixed.transpose(1, 2)
    if window >= plan.length - 1 and plan.documents is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    mask = dense_mask(plan.length, window, plan.documents, q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def dense_mask(
    length: int, window: int, documents: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    """The mask itself, True where a query sees a key: bool [T, T], or [B, 1, T, T] with documents."""
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    mask = (distance >= 0) & (distance <= window)
    if documents is None:
        return mask
    same = documents[:, :, None] == documents[:, None, :]
    return (mask & same)[:, None]


def document_ids(tokens: torch.Tensor, bos: int) -> torch.Tensor:
    """Number of the document each token stands in, int32 [B, T]: every BOS begins one."""
    return (tokens == bos).cumsum(dim=1, dtype=torch.int32)


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
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(b: torch.Tensor, _h: torch.Tensor, i: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
        return (i >= j) & (i - j <= window) & (documents[b, i] == documents[b, j])

    return create_block_mask(visible, documents.shape[0], None, length, length, device=str(documents.device))


def _fa3_works() -> bool:
    return importlib.util.find_spec("flash_attn_interface") is not None and (
        torch.cuda.get_device_capability() >= (9, 0)
    )


def _flex_works() -> bool:
    from trainer.harness.device import triton_is_importable

    return triton_is_importable() and torch.cuda.get_device_capability() >= (8, 0)
