"""Causal attention with windows and document masks, the same masks in every backend.

Query i sees key j exactly when 0 <= i - j <= window, and, with document ids, when both stand in the
same document. Tensors are [B, T, H, D]; window counts the earlier keys in sight, so T - 1 or more is
full attention.

Backends: `sdpa` everywhere (explicit mask where the kernel's own causal mask is not enough), and on CUDA
`flex` (FlexAttention, Triton), `varlen` (torch's packed FlashAttention), `fa3`, `fa4` (packages of their
own). `+cudnn` after a name (`flex+cudnn`) gives full layers without documents to cuDNN. The backend stands
in the result of a run; results of different backends are not compared silently.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from trainer.harness.attention_flash import attend_fa3, attend_fa4, fa3_works, fa4_works
from trainer.harness.attention_flex import attend_flex, block_masks
from trainer.harness.attention_varlen import (
    Packing,
    attend_varlen,
    pack_documents,
    pack_rows,
    suits_varlen,
    varlen_works,
)
from trainer.harness.failures import ContractError

BACKENDS = ("fa3", "fa4", "flex", "varlen", "sdpa")
WITHOUT_DOCUMENTS = ("fa3", "fa4")
CUDNN = "+cudnn"


@dataclass(frozen=True)
class MaskPlan:
    """Masks of one forward pass: made once, used by every layer.

    blocks holds FlexAttention's block mask per window, packing the bounds for varlen; the other backends
    need none.
    """

    backend: str
    length: int
    documents: torch.Tensor | None
    blocks: dict[int, Any]
    packing: Packing | None = None


def choose_backend(name: str, device_kind: str, masks_documents: bool) -> str:
    """The backend for a device; auto is the first that works, timed choice is in attention_choice.

    Raises ContractError when a named one cannot do it.
    """
    if name == "auto":
        return working_backends(masks_documents)[0] if device_kind == "cuda" else "sdpa"
    base = name.removesuffix(CUDNN)
    if base not in BACKENDS:
        known = ", ".join(BACKENDS)
        raise ContractError(f"attention must be auto or one of {known}, with or without +cudnn, not {name!r}")
    if base in WITHOUT_DOCUMENTS and masks_documents:
        raise ContractError(f"attention {base} has no document mask here; use flex, varlen or sdpa")
    if name != "sdpa" and device_kind != "cuda":
        raise ContractError(f"attention {name} needs a CUDA device; use sdpa")
    return name


def working_backends(masks_documents: bool) -> list[str]:
    """The backends that this CUDA machine can run with such masks, in the order of first choice."""
    works = {"fa3": fa3_works, "fa4": fa4_works, "flex": _flex_works, "varlen": varlen_works}
    usable = [name for name in works if not (masks_documents and name in WITHOUT_DOCUMENTS)]
    return [*(name for name in usable if works[name]()), "sdpa"]


def plan_masks(
    backend: str,
    length: int,
    windows: tuple[int, ...],
    documents: torch.Tensor | None,
    device: torch.device,
) -> MaskPlan:
    """Prepares the masks that the given windows need. documents: int [B, length] or None."""
    base = backend.removesuffix(CUDNN)
    blocks: dict[int, Any] = {}
    packing = None
    if base == "flex":
        blocks = block_masks(length, windows, documents, device)
    elif base == "varlen" and documents is not None:
        packing = pack_documents(documents)
    return MaskPlan(backend, length, documents, blocks, packing)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, plan: MaskPlan) -> torch.Tensor:
    """Attention output [B, T, H, D] for queries, keys and values [B, T, H, D]; scale 1/sqrt(D)."""
    base = plan.backend.removesuffix(CUDNN)
    full = window >= plan.length - 1
    if full and plan.documents is None and (base == "sdpa" or base != plan.backend):
        return _attend_full(q, k, v, base != plan.backend)
    if base == "flex":
        return attend_flex(q, k, v, plan.blocks[window])
    left = -1 if full else window
    if base == "varlen" and suits_varlen(q):
        packing = plan.packing or pack_rows(q.size(0), plan.length, q.device)
        return attend_varlen(q, k, v, left, packing)
    if base in WITHOUT_DOCUMENTS:
        return (attend_fa3 if base == "fa3" else attend_fa4)(q, k, v, left)
    mask = dense_mask(plan.length, window, plan.documents, q.device)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
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


def _attend_full(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cudnn: bool) -> torch.Tensor:
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if cudnn and _suits_cudnn(q):
        # The operator itself: torch keeps no compiled graph in which a context manager names the kernels.
        operator: Any = torch.ops.aten._scaled_dot_product_cudnn_attention
        mixed = operator(q, k, v, None, compute_log_sumexp=True, is_causal=True)[0]
        assert isinstance(mixed, torch.Tensor)
        return mixed.transpose(1, 2)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


def _suits_cudnn(q: torch.Tensor) -> bool:
    """Whether cuDNN's kernel takes queries of this type and head width."""
    return q.dtype in (torch.bfloat16, torch.float16) and q.size(-1) % 8 == 0 and q.size(-1) <= 128


def _flex_works() -> bool:
    from trainer.harness.device import triton_is_importable

    return triton_is_importable() and torch.cuda.get_device_capability() >= (8, 0)
