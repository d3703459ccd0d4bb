"""Cross-entropy of soft-capped logits in one pass forward and one backward.

loss = mean over rows of -log softmax(c * tanh(z / c))[target]. Written out as eager operations this
keeps five arrays of rows x vocabulary; here it keeps one. On CUDA with Triton one kernel does forward
and gradient (trainer.harness.cross_entropy_triton); elsewhere torch operations work in place.
"""

from typing import Any

import torch

from trainer.harness.device import triton_is_importable


def softcap_cross_entropy(z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
    """Mean loss in nats, float32 0-D, for z [N, V] of any floating type and int64 targets [N].

    softcap 0 means plain cross-entropy. z is overwritten: do not use it afterwards.
    """
    kernel = _SoftcapTriton if z.is_cuda and triton_is_importable() else _SoftcapTorch
    loss: torch.Tensor = kernel.apply(z, targets, softcap)  # type: ignore[no-untyped-call]
    return loss


class _SoftcapTorch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
        kept = z.float() if z.dtype != torch.float32 else z.clone() if z.is_leaf else z
        if softcap:
            kept = kept.div_(softcap).tanh_()  # t; the capped logit is softcap * t
        scale = softcap or 1.0
        chosen = kept.gather(1, targets[:, None]).squeeze(1) * scale
        capped = kept * scale
        largest = capped.amax(dim=1, keepdim=True)
        total = capped.sub_(largest).exp_().sum(dim=1, keepdim=True)
        log_sum = largest + total.log()
        ctx.save_for_backward(kept, capped, total, targets)
        ctx.softcap, ctx.dtype = softcap, z.dtype
        return (log_sum.squeeze(1) - chosen).mean()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        kept, exponentials, total, targets = ctx.saved_tensors
        probability = exponentials.div_(total)
        probability.scatter_add_(
            1, targets[:, None], torch.full_like(targets[:, None], -1.0, dtype=torch.float32)
        )
        if ctx.softcap:
            probability.mul_(kept.square_().neg_().add_(1.0))
        return probability.mul_(grad / len(targets)).to(ctx.dtype), None, None


class _SoftcapTriton(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
        from trainer.harness.cross_entropy_triton import loss_and_gradient

        losses = loss_and_gradient(z, targets, softcap)  # z now holds the gradient of the mean
        ctx.save_for_backward(z)
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        from trainer.harness.cross_entropy_triton import scale_in_place

        (gradient,) = ctx.saved_tensors
        return scale_in_place(gradient, grad), None, None
