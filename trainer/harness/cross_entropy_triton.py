"""Triton kernel: soft-cap, cross-entropy and its gradient for one row of logits per program.

Imported only where Triton works. The row of logits is overwritten by the gradient of its loss, so
logits of N x V are read once and written once, instead of about six times.
"""

import torch
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator,unused-ignore]
def _softcap_kernel(  # type: ignore[no-untyped-def]
    z_pointer,  # Triton reads annotations: only its own may stand here
    target_pointer,
    loss_pointer,
    stride,
    vocabulary,
    softcap,
    CAPPED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < vocabulary
    z = tl.load(z_pointer + row * stride + columns, mask=inside, other=0.0).to(tl.float32)
    target = tl.load(target_pointer + row)
    if CAPPED:
        # tanh by exp of a non-positive number: never overflows
        e = tl.exp(-2.0 * tl.abs(z / softcap))
        t = (1.0 - e) / (1.0 + e)
        t = tl.where(z < 0, -t, t)
        capped = softcap * t
        slope = 1.0 - t * t
    else:
        capped = z
        slope = tl.full((BLOCK,), 1.0, tl.float32)
    masked = tl.where(inside, capped, -float("inf"))
    largest = tl.max(masked, axis=0)
    exponentials = tl.exp(masked - largest)
    total = tl.sum(exponentials, axis=0)
    is_target = columns == target
    chosen = tl.sum(tl.where(is_target, capped, 0.0), axis=0)
    tl.store(loss_pointer + row, largest + tl.log(total) - chosen)
    gradient = (exponentials / total - tl.where(is_target, 1.0, 0.0)) * slope
    tl.store(z_pointer + row * stride + columns, gradient.to(z_pointer.dtype.element_ty), mask=inside)


def loss_and_gradient(z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
    """Losses [N], float32; z [N, V] is overwritten by the gradient of each row's own loss."""
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
        CAPPED=bool(softcap),
        BLOCK=block,
        num_warps=8 if block >= 4096 else 4,
    )
    return losses
