"""Every backend computes the dense float32 reference, forward and backward, for each kind of mask."""

import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from trainer.harness import attention_flash
from trainer.harness.attention import (
    CUDNN,
    attend,
    choose_backend,
    dense_mask,
    document_ids,
    plan_masks,
)
from trainer.harness.attention_flex import BLOCK, visible_blocks
from trainer.harness.attention_varlen import SHORTEST_DOCUMENT, pack_documents, pack_rows, varlen_works
from trainer.harness.failures import ContractError

ROWS, LENGTH, HEADS, WIDTH, BOS = 2, 24, 3, 8, 0
NEEDS_CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
BACKENDS = [
    pytest.param("sdpa", "cpu"),
    *(
        pytest.param(name, "cuda", marks=NEEDS_CUDA)
        for name in ("sdpa", "sdpa+cudnn", "flex", "flex+cudnn", "varlen", "varlen+cudnn", "fa3", "fa4")
    ),
]
PACKAGES = {"fa3": "flash_attn_interface", "fa4": "flash_attn"}
HALF_ONLY = ("varlen", "fa3", "fa4")


def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Attention written out: [B, T, H, D] in float32."""
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / q.size(-1) ** 0.5
    return torch.einsum("bhij,bjhd->bihd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v)


@pytest.mark.parametrize(("backend", "device"), BACKENDS)
@pytest.mark.parametrize("window", [LENGTH, 5, 1])
@pytest.mark.parametrize("documents", [False, True])
def test_backend_equals_the_reference(backend: str, device: str, window: int, documents: bool) -> None:
    base = backend.removesuffix(CUDNN)
    _skip_what_is_missing(base, documents)
    # Kernels for half precision want heads of a usual width, and longer rows to be worth a test.
    length, width = (LENGTH, WIDTH) if base == "sdpa" else (300, 64)
    window = length if window == LENGTH else window * (1 if base == "sdpa" else 40)
    generator = torch.Generator().manual_seed(1)
    shape = (ROWS, length, HEADS, width)
    q, k, v, weight = (torch.randn(shape, generator=generator) for _ in range(4))
    tokens = torch.randint(0, length // 4, (ROWS, length), generator=generator)
    tokens[:, 0] = BOS
    ids = document_ids(tokens, BOS) if documents else None
    dtype = torch.bfloat16 if base in HALF_ONLY or backend != base else torch.float32
    wanted_inputs = [x.to(dtype).float().clone().requires_grad_() for x in (q, k, v)]
    mask = dense_mask(length, window, ids, torch.device("cpu"))
    wanted = reference(wanted_inputs[0], wanted_inputs[1], wanted_inputs[2], mask)
    torch.autograd.backward((wanted * weight).sum())
    got_inputs = [x.to(device, dtype).clone().requires_grad_() for x in (q, k, v)]
    ids = None if ids is None else ids.to(device)
    plan = plan_masks(backend, length, (window,), ids, torch.device(device))
    got = attend(got_inputs[0], got_inputs[1], got_inputs[2], window, plan)
    torch.autograd.backward((got.float() * weight.to(device)).sum())
    tolerance = 3e-5 if dtype == torch.float32 else 3e-2
    assert torch.allclose(got.float().cpu(), wanted, atol=tolerance, rtol=tolerance)
    for ours, theirs in zip(got_inputs, wanted_inputs, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad.float().cpu(), theirs.grad, atol=tolerance, rtol=tolerance)


def _skip_what_is_missing(base: str, documents: bool) -> None:
    if base in PACKAGES and importlib.util.find_spec(PACKAGES[base]) is None:
        pytest.skip(f"{PACKAGES[base]} is not installed")
    if base in PACKAGES and documents:
        pytest.skip(f"{base} is not offered with document masks")
    if base == "varlen" and not varlen_works():
        pytest.skip("this torch has no varlen_attn with windows")


@pytest.mark.parametrize("window", [1, 100, 128, 200, 1000])
def test_block_masks_of_documents_name_every_visible_pair(window: int) -> None:
    length = 5 * BLOCK + 17
    generator = torch.Generator().manual_seed(window)
    tokens = torch.randint(0, 200, (3, length), generator=generator)
    tokens[1] = 1  # one document
    ids = document_ids(tokens, BOS)
    partial, full = visible_blocks(length, window, ids)
    mask = dense_mask(length, window, ids, torch.device("cpu"))[:, 0]
    count = partial.size(1)
    for row in range(3):
        for i in range(count):
            for j in range(count):
                square = mask[row, i * BLOCK : (i + 1) * BLOCK, j * BLOCK : (j + 1) * BLOCK]
                assert not (partial[row, i, j] and full[row, i, j])
                assert bool(square.all()) or not full[row, i, j]
                assert not square.any() or bool(partial[row, i, j] or full[row, i, j])
    assert full.any() == (window >= 2 * BLOCK - 1)
    seen = int((partial | full).sum())
    assert seen < 3 * count * (count + 1) // 2 or window >= length


def test_packed_bounds_are_the_documents_of_all_rows() -> None:
    tokens = torch.ones((2, 3 * SHORTEST_DOCUMENT), dtype=torch.int64)
    tokens[0, [0, 40]] = BOS
    tokens[1, [0, 5, 70]] = BOS
    total = tokens.numel()
    packing = pack_documents(document_ids(tokens, BOS))
    assert packing.bounds.tolist() == [0, 40, 96, 101, 166, total, total]
    assert packing.bounds.dtype == torch.int32
    assert packing.longest == 3 * SHORTEST_DOCUMENT
    assert packing.sound is not None
    assert float(packing.sound) == 1.0
    assert pack_rows(2, 7, torch.device("cpu")).bounds.tolist() == [0, 7, 14]


@pytest.mark.parametrize("documents", [False, True])
def test_what_the_packed_kernel_cannot_take_gets_the_same_mask(documents: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn((ROWS, LENGTH, HEADS, WIDTH), generator=generator) for _ in range(3))
    ids = document_ids(torch.randint(0, 6, (ROWS, LENGTH), generator=generator), BOS) if documents else None
    cpu = torch.device("cpu")
    for window in (LENGTH, 5):
        plan = plan_masks("varlen", LENGTH, (window,), ids, cpu)
        wanted = reference(q, k, v, dense_mask(LENGTH, window, ids, cpu))
        assert torch.allclose(attend(q, k, v, window, plan), wanted, atol=1e-5)


def test_too_many_documents_are_never_another_mask() -> None:
    ids = document_ids(torch.zeros((1, 3 * SHORTEST_DOCUMENT), dtype=torch.int64), BOS)
    packing = pack_documents(ids)
    assert packing.sound is not None
    assert bool(torch.isnan(packing.sound))
    with torch.no_grad():
        exact = pack_documents(ids)
    assert exact.bounds.tolist() == list(range(3 * SHORTEST_DOCUMENT + 1))
    assert exact.sound is not None
    assert float(exact.sound) == 1.0


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
    with pytest.raises(ContractError, match="fa4 has no document mask"):
        choose_backend("fa4+cudnn", "cuda", True)
    with pytest.raises(ContractError, match="one of"):
        choose_backend("magic", "cpu", False)
    assert choose_backend("varlen+cudnn", "cuda", True) == "varlen+cudnn"


@pytest.mark.long
def test_a_compiled_graph_breaks_around_fa4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of a package that stands in for it, since its own kernels need a GPU."""
    traced: list[bool] = []

    def kernels(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: object) -> torch.Tensor:
        traced.append(torch.compiler.is_compiling())
        return q + 1

    package = ModuleType("flash_attn.cute")
    package.__dict__["flash_attn_func"] = kernels
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.cute", package)
    monkeypatch.setattr(attention_flash, "_fa4", None)
    compiled = torch.compile(lambda x: attention_flash.attend_fa4(x * 2, x, x, 3) * 3, backend="eager")
    for _ in range(2):
        assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 9.0))
    assert traced == [False, False]
