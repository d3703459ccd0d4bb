"""Muon, AdamW and the Weber bracket against references written out in float64."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.trainer.template.tiny import load_tiny
from trainer.harness.process_group import ProcessGroup

BETAS, EPS = (0.8, 0.95), 1e-10


def adamw_group(parameters: list[torch.Tensor], lr: float, decay: float) -> dict[str, Any]:
    return {
        "kind": "adamw",
        "params": parameters,
        "lr": lr,
        "weight_decay": decay,
        "betas": BETAS,
        "eps": EPS,
    }


def gradients(shape: tuple[int, ...], steps: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    drift = torch.randn(shape, generator=generator)
    return [scale * (torch.randn(shape, generator=generator) + drift) for _ in range(steps)]


def run_adamw(
    module: ModuleType, steps: list[torch.Tensor], lr: float = 0.01, decay: float = 0.1
) -> torch.Tensor:
    p = torch.nn.Parameter(torch.ones(steps[0].shape))
    optimizer = module.MuonAdamW([adamw_group([p], lr, decay)], ProcessGroup())
    for g in steps:
        p.grad = g.clone()
        optimizer.step()
    return p.detach()


def reference_adamw(
    steps: list[torch.Tensor], lr: float, decay: float, mode: str, c_sq: float, first: int
) -> torch.Tensor:
    """AdamW with the bracket, float64, momenta of two steps kept to take their difference."""
    p = torch.ones(steps[0].shape, dtype=torch.float64)
    m = v = torch.zeros_like(p)
    for t, g in enumerate((g.double() for g in steps), start=1):
        before, m = m, BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        bias = 1 - BETAS[0] ** t
        d = (v / (1 - BETAS[1] ** t)).sqrt() + EPS
        w = torch.ones_like(p)
        if mode != "off" and t >= first:
            unit = bias * d if mode == "normalized" else torch.ones_like(d)
            velocity, acceleration = m / unit, (m - before) / unit
            w = 1 - velocity**2 / (2 * c_sq) + velocity * acceleration / c_sq
            w = w.clamp(0.5, 1.5) if mode == "normalized" else w.clamp(0, 2)
        p = p * (1 - lr * decay) - lr * w * m / bias / d
    return p


@pytest.mark.parametrize("mode", ["off", "raw", "normalized"])
@pytest.mark.parametrize("c_sq", [1.0, 4.0])
def test_adamw_with_the_bracket_equals_the_float64_reference(tmp_path: Path, mode: str, c_sq: float) -> None:
    module = load_tiny(tmp_path, WEBER_MODE=mode, WEBER_C_SQ=c_sq)
    steps = gradients((7, 5), 25)
    got = run_adamw(module, steps)
    wanted = reference_adamw(steps, 0.01, 0.1, mode, c_sq, module.WEBER_FIRST_STEP)
    assert torch.allclose(got.double(), wanted, atol=2e-6)
    if mode != "off":
        assert not torch.allclose(wanted, reference_adamw(steps, 0.01, 0.1, "off", c_sq, 10), atol=1e-3)


@pytest.mark.long
def test_adamw_without_the_bracket_is_torchs(tmp_path: Path) -> None:
    module = load_tiny(tmp_path, WEBER_MODE="off")
    steps = gradients((6, 4), 20)
    p = torch.nn.Parameter(torch.ones(6, 4))
    theirs = torch.optim.AdamW([p], lr=0.01, betas=BETAS, eps=EPS, weight_decay=0.1)
    for g in steps:
        p.grad = g.clone()
        theirs.step()
    assert torch.allclose(run_adamw(module, steps), p.detach(), atol=1e-6)


def test_cautious_decay_spares_weights_that_grow(tmp_path: Path) -> None:
    plain, cautious = load_tiny(tmp_path), load_tiny(tmp_path, CAUTIOUS_ADAM=True)
    growing = [-torch.ones(3)] * 3
    shrinking = [torch.ones(3)] * 3
    assert torch.equal(run_adamw(cautious, growing, decay=0.0), run_adamw(cautious, growing, decay=0.5))
    assert torch.allclose(run_adamw(cautious, shrinking), run_adamw(plain, shrinking), atol=1e-4)


def test_raw_units_change_nothing_at_the_size_of_real_gradients(tmp_path: Path) -> None:
    steps = gradients((50, 20), 30, scale=1e-6)
    off = run_adamw(load_tiny(tmp_path, WEBER_MODE="off"), steps)
    raw = run_adamw(load_tiny(tmp_path, WEBER_MODE="raw", WEBER_C_SQ=1.0), steps)
    assert torch.equal(off, raw)


def test_the_normalized_bracket_moves_and_stays_in_its_bounds(tmp_path: Path) -> None:
    module = load_tiny(tmp_path, WEBER_MODE="normalized", WEBER_C_SQ=1.0)
    v = torch.linspace(-1.6, 1.6, 1000)
    w = module.weber_bracket(v.square(), v * v.flip(0) * 0.3)
    assert 0.5 <= w.min() < 0.75
    assert w.max() <= 1.5
    assert w.std() >= 0.03
    controlled = load_tiny(tmp_path, WEBER_MODE="normalized", WEBER_CONTROL="mean")
    assert controlled.weber_bracket(v.square(), v).mean().item() == pytest.approx(1.0, abs=1e-6)
    shuffled = load_tiny(tmp_path, WEBER_MODE="normalized", WEBER_CONTROL="shuffle")
    assert torch.equal(
        shuffled.weber_bracket(v.square(), v).sort().values, module.weber_bracket(v.square(), v).sort().values
    )


@pytest.mark.parametrize("mode", ["raw", "normalized"])
def test_the_matrix_bracket_equals_the_float64_reference(tmp_path: Path, mode: str) -> None:
    module = load_tiny(tmp_path, WEBER_MODE=mode, WEBER_C_SQ=1.0)
    momentum = 0.9
    before, *steps = gradients((3, 6, 4), 2, scale=0.5)
    g = steps[0]
    after = momentum * before + (1 - momentum) * g
    got = module.matrix_weber_bracket(g, after, torch.tensor(momentum))
    m, a, g64 = after.double(), (after - before).double(), g.double()
    unit = g64.square().mean(dim=(1, 2), keepdim=True) if mode == "normalized" else 1.0
    v_sq = m.square().mean(dim=(1, 2), keepdim=True) / unit
    va = (m * a).mean(dim=(1, 2), keepdim=True) / unit
    low, high = (0.5, 1.5) if mode == "normalized" else (0.0, 2.0)
    wanted = (1 - v_sq / 2 + va).clamp(low, high)
    assert got.shape == (3, 1, 1)
    assert torch.allclose(got.double(), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", ["raw", "normalized"])
def test_the_bracket_needs_no_state(tmp_path: Path, mode: str) -> None:
    def state_bytes(module: ModuleType) -> int:
        model = module.build_model(module.model_config(512, 64, 508))
        model.initialize()
        optimizer = module.build_optimizer(model, ProcessGroup())
        model.loss(torch.ones(1, 8, dtype=torch.int64), torch.ones(1, 8, dtype=torch.int64)).backward()
        module.set_schedule(optimizer, 0, 0.0)
        optimizer.step()
        tensors = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor)]
        return sum(t.numel() * t.element_size() for t in tensors)

    with_bracket = state_bytes(load_tiny(tmp_path, WEBER_MODE=mode))
    assert with_bracket == state_bytes(load_tiny(tmp_path, WEBER_MODE="off"))


@pytest.mark.parametrize("shape", [(4, 8, 8), (2, 12, 5), (3, 5, 12)])
def test_orthogonalized_matrices_have_singular_values_near_one(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    module = load_tiny(tmp_path)
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(module.orthogonalize(matrices, 5))
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize(("shape", "dim"), [((2, 8, 4), -1), ((2, 4, 8), -2)])
def test_equal_variance_keeps_each_matrix_norm(tmp_path: Path, shape: tuple[int, ...], dim: int) -> None:
    module = load_tiny(tmp_path)
    update = torch.randn(shape) * torch.logspace(-1, 1, shape[dim - 1 if dim == -1 else -1]).view(
        (1, -1, 1) if dim == -1 else (1, 1, -1)
    )
    second = torch.zeros_like(update.mean(dim=dim, keepdim=True))
    got = module.equalize_variance(update, second, dim)
    assert torch.allclose(got.norm(dim=(1, 2)), update.norm(dim=(1, 2)), rtol=1e-5)
    spread = got.square().mean(dim=dim)
    assert torch.allclose(spread / spread.mean(dim=1, keepdim=True), torch.ones_like(spread), atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"NORMUON": False, "MUON_EQ": True}])
def test_a_muon_step_equals_the_one_written_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    module = load_tiny(tmp_path, WEBER_MODE="off", **changes)
    generator = torch.Generator().manual_seed(8)
    parameters = [torch.nn.Parameter(torch.randn(8, 4, generator=generator)) for _ in range(3)]
    start = [p.detach().clone() for p in parameters]
    group = {"kind": "muon", "params": parameters, "lr": 0.1, "weight_decay": 0.5, "momentum": 0.9}
    optimizer = module.MuonAdamW([group], ProcessGroup())
    drawn = [torch.randn(8, 4, generator=generator) for _ in parameters]
    for p, g in zip(parameters, drawn, strict=True):
        p.grad = g.clone()
    optimizer.step()
    for p, old, g in zip(parameters, start, drawn, strict=True):
        m = 0.1 * g
        update = 0.1 * g + 0.9 * m
        if module.MUON_EQ:
            update = update / update.norm(dim=1, keepdim=True)
        update = module.orthogonalize(update[None], 5)[0]
        if module.NORMUON:
            update = module.equalize_variance(update[None], torch.zeros(1, 8, 1), -1)[0]
        lr = 0.1 * 2**0.5
        wanted = old - lr * update - lr * 0.5 * old * (update * old >= 0)
        assert torch.allclose(p.detach(), wanted, atol=1e-5)


def test_every_parameter_is_in_exactly_one_group(tmp_path: Path) -> None:
    module = load_tiny(tmp_path, NGRAM_ORDER=3, HEAD_GATES=True, SMEAR=True, BACKOUT=0.1, GATE_LR=0.01)
    model = module.build_model(module.model_config(512, 64, 508))
    groups = module.build_optimizer(model, ProcessGroup()).param_groups
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_the_schedule_is_flat_then_falls_to_its_floor(tmp_path: Path) -> None:
    module = load_tiny(
        tmp_path,
        WARMUP_RATIO=0.1,
        WARMDOWN_RATIO=0.5,
        FINAL_LR_FRAC=0.2,
        MUON_MOMENTUM_STEPS=10,
        MUON_MOMENTUM_END=0.8,
    )
    shares = [module.learning_rate_share(p) for p in (0.0, 0.05, 0.1, 0.5, 0.75, 1.0)]
    assert shares == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.6, 0.2])
    momenta = [module.muon_momentum(*at) for at in ((0, 0.0), (5, 0.1), (10, 0.5), (20, 0.75), (40, 1.0))]
    assert momenta == pytest.approx([0.85, 0.9, 0.95, 0.875, 0.8])
