"""The fused loss equals the one written out, in value and gradient, on each path."""

import pytest
import torch
import torch.nn.functional as F

from trainer.harness.cross_entropy import softcap_cross_entropy

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_CUDA])]


def written_out(z: torch.Tensor, targets: torch.Tensor, softcap: float) -> torch.Tensor:
    capped = softcap * torch.tanh(z / softcap) if softcap else z
    return F.cross_entropy(capped, targets)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("softcap", [0.0, 15.0])
@pytest.mark.parametrize("scale", [1.0, 80.0])
def test_value_and_gradient_are_those_written_out(device: str, softcap: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(37, 8, generator=generator) * scale
    weight = torch.randn(100, 8, generator=generator)
    targets = torch.randint(0, 100, (37,), generator=generator)
    wanted_weight = weight.clone().requires_grad_()
    torch.autograd.backward(written_out(x @ wanted_weight.T, targets, softcap) * 3)
    got_weight = weight.clone().to(device).requires_grad_()
    loss = softcap_cross_entropy(x.to(device) @ got_weight.T, targets.to(device), softcap)
    torch.autograd.backward(loss * 3)
    assert loss.item() == pytest.approx(written_out(x @ weight.T, targets, softcap).item(), rel=1e-5)
    assert got_weight.grad is not None
    assert wanted_weight.grad is not None
    assert torch.allclose(got_weight.grad.cpu(), wanted_weight.grad, rtol=1e-3, atol=1e-5 * scale)


def test_half_precision_logits_get_half_precision_gradients() -> None:
    z = torch.randn(5, 11)
    targets = torch.arange(5)
    half = z.bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    torch.autograd.backward(softcap_cross_entropy(half, targets, 15.0))
    torch.autograd.backward(written_out(full, targets, 15.0))
    assert half.grad is not None
    assert full.grad is not None
    assert half.grad.dtype == torch.bfloat16
    assert torch.allclose(half.grad.float(), full.grad, atol=2e-3)


def test_a_leaf_keeps_its_values() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    before = z.detach().clone()
    torch.autograd.backward(softcap_cross_entropy(z, torch.zeros(3, dtype=torch.int64), 15.0))
    assert torch.equal(z.detach(), before)


def test_numerical_gradients_agree() -> None:
    z = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).float()
    targets = torch.tensor([0, 5, 2, 2])
    leaf = z.clone().requires_grad_()
    torch.autograd.backward(softcap_cross_entropy(leaf, targets, 2.0))
    assert leaf.grad is not None
    step = 1e-3
    for row, column in ((0, 0), (1, 3), (3, 2)):
        moved = z.double().clone()
        moved[row, column] += step
        other = z.double().clone()
        other[row, column] -= step
        slope = (written_out(moved, targets, 2.0) - written_out(other, targets, 2.0)) / (2 * step)
        assert leaf.grad[row, column].item() == pytest.approx(slope.item(), abs=1e-5)
