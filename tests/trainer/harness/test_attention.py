"""Every backend computes the dense float32 reference, forward and backward, for each kind of mask."""

import pytest
import torch

from trainer.harness.attention import (
    attend,
    choose_backend,
    dense_mask,
    document_ids,
    plan_masks,
)
from trainer.harness.failures import ContractError

ROWS, LENGTH, HEADS, WIDTH, BOS = 2, 24, 3, 8, 0
NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
BACKENDS = [
    pytest.param("sdpa", "cpu"),
    *(pytest.param(name, "cuda", marks=NEEDS_CUDA) for name in ("sdpa", "flex", "fa3")),
]


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention written out: [B, T, H, D] in float32."""
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / q.size(-1) ** 0.5
    return torch.einsum("bhij,bjhd->bihd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize(("backend", "device"), BACKENDS)
@pytest.mark.parametrize("window", [LENGTH, 5, 1])
@pytest.mark.parametrize("documents", [False, True])
def test_backend_equals_the_reference(backend: str, device: str, window: int, documents: bool) -> None:
    if backend == "fa3":
        pytest.importorskip("flash_attn_interface", reason="FlashAttention-3 is not installed")
        if documents:
            pytest.skip("fa3 is not offered with document masks")
    generator = torch.Generator().manual_seed(1)
    shape = (ROWS, LENGTH, HEADS, WIDTH)
    q, k, v, weight = (torch.randn(shape, generator=generator) for _ in range(4))
    tokens = torch.randint(0, 6, (ROWS, LENGTH), generator=generator)
    tokens[:, 0] = BOS
    ids = document_ids(tokens, BOS) if documents else None
    wanted_inputs = [x.clone().requires_grad_() for x in (q, k, v)]
    wanted = reference(*wanted_inputs, dense_mask(LENGTH, window, ids, torch.device("cpu")))
    (wanted * weight).sum().backward()
    got_inputs = [x.clone().to(device).requires_grad_() for x in (q, k, v)]
    ids = None if ids is None else ids.to(device)
    plan = plan_masks(backend, LENGTH, (window,), ids, torch.device(device))
    got = attend(got_inputs[0], got_inputs[1], got_inputs[2], window, plan)
    (got * weight.to(device)).sum().backward()
    assert torch.allclose(got.cpu(), wanted, atol=1e-5)
    for ours, theirs in zip(got_inputs, wanted_inputs, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad.cpu(), theirs.grad, atol=1e-5)


def test_the_mask_is_what_its_docstring_says() -> None:
    ids = document_ids(torch.tensor([[BOS, 1, 2, BOS, 3, 4]]), BOS)
    assert ids.tolist() == [[1, 1, 1, 2, 2, 2]]
    mask = dense_mask(6, 1, ids, torch.device("cpu"))[0, 0]
    for i in range(6):
        for j in range(6):
            assert bool(mask[i, j]) == (0 <= i - j <= 1 and (i < 3) == (j < 3))


@pytest.mark.long
def test_flex_masks_are_the_same_masks() -> None:
    from torch.nn.attention.flex_attention import create_mask

    ids = document_ids(torch.tensor([[BOS, 1, 2, BOS, 3, 4], [BOS, 1, BOS, 2, 3, BOS]]), BOS)
    for documents in (None, ids):
        for window in (6, 2):
            block = plan_masks("flex", 6, (window,), documents, torch.device("cpu")).blocks[window]
            rows = 1 if documents is None else 2
            got = create_mask(block.mask_mod, rows, 1, 6, 6, device="cpu")
            wanted = dense_mask(6, window, documents, torch.device("cpu"))
            assert torch.equal(got, wanted.expand(rows, 1, 6, 6))


def test_a_backend_that_cannot_is_refused_and_auto_always_answers() -> None:
    assert choose_backend("auto", "cpu", True) == "sdpa"
    assert choose_backend("auto", "mps", False) == "sdpa"
    with pytest.raises(ContractError, match="CUDA"):
        choose_backend("flex", "cpu", False)
    with pytest.raises(ContractError, match="document mask"):
        choose_backend("fa3", "cuda", True)
    with pytest.raises(ContractError, match="one of"):
        choose_backend("magic", "cpu", False)
