"""The model: shapes, causality under every switch, strict reload, windows."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.template.tiny import load_tiny
from trainer.harness.failures import ContractError

SWITCHES: list[dict[str, Any]] = [
    {},
    {"VALUE_EMBEDDINGS": False},
    {"DOCUMENT_MASK": True},
    {"NGRAM_ORDER": 3, "HEAD_GATES": True, "HEAD_NORM": True},
    {"RECALL": "1 2", "MEMORY": "2 4", "MEMORY_BITS": 8, "NGRAM_ORDER": 2, "SMEAR": True},
    {"NGRAM_ORDER": 2, "VALUE_EMBEDDINGS": False, "GATE_LR": 0.01},
    {"SMEAR": True, "BACKOUT": 0.2, "QK_NORM": False, "DEPTH": 3},
    {"MERGE_QKV": False, "FUSED_LOSS": False, "PREFETCH": False},
    {"MLP_ACTIVATION": "gelu", "SOFTCAP": 0.0, "WINDOW_PATTERN": "S", "MLP_RATIO": 2},
]


def make_model(folder: Path, **changes: Any) -> Any:
    """A tiny model with all weights random, so that no path is hidden by zeros."""
    module = load_tiny(folder, **changes)
    model = module.build_model(module.model_config(512, 64, 508))
    model.initialize()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    if model.lookup is not None and model.lookup.memory is not None:
        model.lookup.memory.add(tokens(), tokens().roll(-1, 1))
    return model.eval()


def tokens(rows: int = 2, length: int = 64) -> torch.Tensor:
    drawn = torch.randint(0, 508, (rows, length), generator=torch.Generator().manual_seed(2))
    drawn[:, 0] = 508
    drawn[:, length // 2] = 508
    return drawn


@pytest.mark.parametrize("changes", SWITCHES)
@torch.inference_mode()
def test_logits_depend_on_the_past_of_their_own_row_only(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = make_model(tmp_path, **changes)
    given = tokens()
    logits = model(given)
    assert logits.shape == (2, 64, 512)
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
    other = given.clone()
    other[:, 40:] = (other[:, 40:] + 7) % 508
    assert torch.allclose(model(other)[:, :40], logits[:, :40], atol=1e-5)
    assert not torch.allclose(model(other)[:, 40:], logits[:, 40:], atol=1e-2)
    assert torch.allclose(model(given[:, :17]), logits[:, :17], atol=1e-4)
    assert torch.allclose(model(given.flip(0)).flip(0), logits, atol=1e-5)


@pytest.mark.parametrize("changes", SWITCHES)
def test_every_parameter_gets_a_gradient_and_loss_is_cross_entropy(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = make_model(tmp_path, **changes)
    given = tokens()
    targets = given.roll(-1, 1)
    loss = model.loss(given, targets)
    loss.backward()
    plain = torch.nn.functional.cross_entropy(model(given).view(-1, 512), targets.view(-1))
    assert torch.allclose(loss, plain, atol=1e-5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_variants_start_from_equal_weights_and_seeds_from_others(tmp_path: Path) -> None:
    def start(seed: int, **changes: Any) -> dict[str, torch.Tensor]:
        module = load_tiny(tmp_path, **changes)
        model = module.build_model(module.model_config(512, 64, 508))
        model.initialize(seed)
        return dict(model.state_dict())

    plain, other = start(2**64 - 1), start(2**64 - 2)
    more = start(2**64 - 1, NGRAM_ORDER=2, SMEAR=True, HEAD_GATES=True, RECALL="1", MEMORY="2")
    drawn = [name for name, value in plain.items() if value.dim() == 2 and value.abs().sum() > 0]
    assert {"embedding.weight", "head.weight", "value_tables.1.weight"} <= set(drawn)
    assert len(more) > len(plain)
    for name in drawn:
        assert torch.equal(plain[name], more[name]), name
        assert not torch.equal(plain[name], other[name]), name
    assert not torch.equal(plain["blocks.0.attention.q.weight"], plain["blocks.0.attention.k.weight"])


def test_one_product_for_queries_keys_and_values_equals_three(tmp_path: Path) -> None:
    merged, apart = make_model(tmp_path), make_model(tmp_path, MERGE_QKV=False)
    with torch.inference_mode():
        torch.testing.assert_close(merged(tokens()), apart(tokens()), atol=1e-5, rtol=1e-5)


def test_weights_reload_strictly_into_a_fresh_model(tmp_path: Path) -> None:
    from trainer.harness.checkpoint import load_weights, save_checkpoint

    model = make_model(tmp_path, **SWITCHES[4])
    save_checkpoint(tmp_path / "out", model, model.config)
    module = load_tiny(tmp_path, DEPTH=7)  # the config decides, not the file's own values
    fresh = module.build_model(model.config)
    load_weights(tmp_path / "out", fresh)
    with torch.inference_mode():
        assert torch.equal(fresh.eval()(tokens()), model(tokens()))
    model.config["depth"] = 1
    with pytest.raises(ContractError, match="do not fit"):
        load_weights(tmp_path / "out", module.build_model(model.config))


def test_a_short_window_hides_what_is_too_far(tmp_path: Path) -> None:
    model = make_model(tmp_path, DEPTH=1, WINDOW_PATTERN="L", VALUE_EMBEDDINGS=False)
    model.blocks[0].attention.window = 4
    given = tokens(1)
    other = given.clone()
    other[0, 10] = 3
    with torch.inference_mode():
        moved = (model(given) - model(other)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.nonzero().flatten().tolist() == [10, 11, 12, 13, 14]


def test_a_document_is_blind_to_the_one_before(tmp_path: Path) -> None:
    model = make_model(tmp_path, DOCUMENT_MASK=True)
    given = tokens(1)
    other = given.clone()
    other[0, 1:32] = (other[0, 1:32] + 9) % 508
    with torch.inference_mode():
        assert torch.allclose(model(given)[:, 32:], model(other)[:, 32:], atol=1e-5)


def test_windows_follow_the_pattern_and_the_last_layer_is_full(tmp_path: Path) -> None:
    module = load_tiny(tmp_path, DEPTH=6, WINDOW_PATTERN="SSL", SHORT_WINDOW_DIVISOR=8)
    assert module.layer_windows(64) == [8, 8, 64, 8, 8, 64]
    module = load_tiny(tmp_path, DEPTH=3, WINDOW_PATTERN="S", SHORT_WINDOW_DIVISOR=2)
    assert module.layer_windows(64) == [32, 32, 64]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"WINDOW_PATTERN": "SX"}, "WINDOW_PATTERN"),
        ({"MLP_ACTIVATION": "swish"}, "MLP_ACTIVATION"),
        ({"NGRAM_ORDER": 4}, "NGRAM_ORDER"),
        ({"HEAD_DIM": 15}, "HEAD_DIM"),
        ({"RECALL": "1,2"}, "RECALL"),
        ({"MEMORY": "0"}, "MEMORY"),
        ({"MEMORY": "2 " * 17}, "at most 16"),
        ({"MEMORY": "2", "MEMORY_BITS": 0}, "MEMORY_BITS"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ContractError, match=words):
        make_model(tmp_path, **changes)


@pytest.mark.long
@pytest.mark.parametrize("changes", [SWITCHES[2], SWITCHES[3], SWITCHES[4], SWITCHES[6]])
def test_forward_and_loss_compile_into_one_graph(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = make_model(tmp_path, **changes)
    given = tokens()
    expected = model.loss(given, given)
    model.compile_parts(backend="aot_eager", fullgraph=True)
    compiled = model.loss(given, given)
    compiled.backward()
    assert torch.allclose(compiled, expected, atol=1e-5)
    with torch.inference_mode():
        assert model(given).shape == (2, 64, 512)
