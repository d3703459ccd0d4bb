"""Triton kernels: soft-cap, cross-entropy and its gradient, one row of logits per program.

Imported only where Triton works. The row of logits is overwritten by the gradient of the mean loss, so
logits of N x V are read once and written once, instead of about six times.
"""

import torch
import triton
import triton.language as tl

LARGEST_SHIFT = 40.0  # exp(-2 * 40) still adds up in float32
SCALE_BLOCK = 8192


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _softcap_kernel(  # type: ignore[no-untyped-def]
    z_pointer,  # Triton reads annotations: only its own may stand here
    target_pointer,
    loss_pointer,
    stride,
    vocabulary,
    softcap,
    share,
    CAPPED: tl.constexpr,
    BOUNDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < vocabulary
    target = tl.load(target_pointer + row)
    z = tl.load(z_pointer + row * stride + columns, mask=inside, other=0.0).to(tl.float32)
    chosen = tl.load(z_pointer + row * stride + target).to(tl.float32)
    if CAPPED:
        t = 2.0 * tl.sigmoid(z * (2.0 / softcap)) - 1.0  # tanh(z / softcap), by one exponential
        capped = softcap * t
        slope = 1.0 - t * t
        chosen = softcap * (2.0 * tl.sigmoid(chosen * (2.0 / softcap)) - 1.0)
    else:
        capped = z
        slope = tl.full((BLOCK,), 1.0, tl.float32)
    # A small cap bounds all logits: no need to look for the largest.
    shift = softcap if BOUNDED else tl.max(tl.where(inside, capped, -float("inf")), axis=0)
    exponentials = tl.where(inside, tl.exp(capped - shift), 0.0)
    total = tl.sum(exponentials, axis=0)
    tl.store(loss_pointer + row, shift + tl.log(total) - chosen)
    probability = exponentials * (1.0 / total)
    gradient = tl.where(columns == target, probability - 1.0, probability) * (slope * share)
    tl.store(z_pointer + row * stride + columns, gradient.to(z_pointer.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _scale_kernel(  # type: ignore[no-untyped-def]
    pointer,
    factor_pointer,
    count,
    BLOCK: tl.constexpr,
):
    factor = tl.load(factor_pointer)
    if factor != 1.0:
        places = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = places < count
        x = tl.load(pointer + places, mask=inside, other=0.0).to(tl.float32) * factor
        tl.store(pointer + places, x.to(pointer.dtype.element_ty), mask=inside)


def loss_and_gradient(z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
    """Losses [N], float32; z [N, V] is overwritten by the gradient of their mean."""
    rows, vocabulary = z.shape
    losses = torch.empty(rows, dtype=torch.float32, device=z.device)
    block = triton.next_power_of_2(vocabulary)
    _softcap_kernel[(rows,)](
        z,
        targets,
        losses,
        z.stride(0),
        vocabulary,
        softcap or 1.0,
        1.0 / rows,
        CAPPED=bool(softcap),
        BOUNDED=0 < softcap <= LARGEST_SHIFT,
        BLOCK=block,
        num_warps=16 if block >= 8192 else 8 if block >= 2048 else 4,
    )
    return losses


def scale_in_place(gradient: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """gradient (contiguous) times factor (0-D, on its device), in place; a factor of 1 costs next to nothing.

    The host need not know the factor, so nothing waits for the device.
    """
    count = gradient.numel()
    _scale_kernel[(triton.cdiv(count, SCALE_BLOCK),)](gradient, factor, count, BLOCK=SCALE_BLOCK, num_warps=8)
    return gradient
