"""train.py as a file: sections, plain literals, presets, and no effect when imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.template.tiny import TEMPLATE
from trainer.presets import PRESETS, apply_preset, choose_preset, find_preset, spell

SECTIONS = ["hyperparameters", "model", "optimizer", "setup", "training loop"]
SEED_NAMES = (
    "ASPECT_RATIO HEAD_DIM WINDOW_PATTERN DEPTH DEVICE_BATCH_SIZE TOTAL_BATCH_SIZE EMBEDDING_LR"
    " UNEMBEDDING_LR MATRIX_LR SCALAR_LR WEIGHT_DECAY ADAM_BETAS WARMUP_RATIO WARMDOWN_RATIO FINAL_LR_FRAC"
    " WEBER_C_SQ WEBER_MODE ROPE_BASE INIT_SCALE X0_LAMBDA_INIT EMBEDDING_WD VE_WD LM_HEAD_WD"
    " SHORT_WINDOW_DIVISOR SOFTCAP"
)


def sections(text: str) -> dict[str, str]:
    parts = text.split("# === SECTION: ")[1:]
    return {part.split(" ===", 1)[0]: part.split("===\n", 1)[1] for part in parts}


def values(text: str) -> dict[str, object]:
    block = ast.parse(sections(text)["hyperparameters"]).body
    found: dict[str, object] = {}
    for node in block:
        assert isinstance(node, ast.Assign), ast.dump(node)
        assert isinstance(node.targets[0], ast.Name)
        found[node.targets[0].id] = eval(ast.unparse(node.value), {"__builtins__": {}})
    return found


def test_sections_stand_in_order_and_the_block_holds_literals_with_the_seeds_names() -> None:
    text = TEMPLATE.read_text()
    assert list(sections(text)) == SECTIONS
    assert set(SEED_NAMES.split()) <= set(values(text))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_its_values_and_nothing_else(name: str) -> None:
    text, preset = TEMPLATE.read_text(), PRESETS[name]
    changed = apply_preset(text, preset)
    assert values(changed) == {**values(text), **preset.hyperparameters}
    before, after = sections(text), sections(changed)
    assert all(before[section] == after[section] for section in SECTIONS[1:])
    assert changed.count("#") == text.count("#")
    assert apply_preset(changed, preset) == changed
    tokens = values(changed)["DEVICE_BATCH_SIZE"] * preset.context_length  # type: ignore[operator]
    assert values(changed)["TOTAL_BATCH_SIZE"] % tokens == 0  # type: ignore[operator]


def test_presets_state_the_ancestors_values() -> None:
    seed, upstream = PRESETS["seed-h100"].hyperparameters, PRESETS["upstream-h100"].hyperparameters
    assert (seed["DEPTH"], seed["ASPECT_RATIO"], seed["TOTAL_BATCH_SIZE"]) == (9, 57, 2**18)
    assert (seed["WINDOW_PATTERN"], seed["SHORT_WINDOW_DIVISOR"], seed["ROPE_BASE"]) == ("SSSSL", 8, 200_000)
    assert (upstream["DEPTH"], upstream["ASPECT_RATIO"], upstream["TOTAL_BATCH_SIZE"]) == (8, 64, 2**19)
    assert (upstream["EMBEDDING_LR"], upstream["UNEMBEDDING_LR"], upstream["WARMDOWN_RATIO"]) == (
        0.6,
        0.004,
        0.5,
    )
    small = PRESETS["seed-3060"].hyperparameters
    assert (small["DEPTH"], small["DEVICE_BATCH_SIZE"], small["TOTAL_BATCH_SIZE"]) == (4, 16, 2**16)
    middle = PRESETS["seed-4090"].hyperparameters
    assert (middle["DEPTH"], middle["DEVICE_BATCH_SIZE"], middle["WINDOW_PATTERN"]) == (6, 32, "SSL")


def test_a_file_without_the_names_and_an_unknown_preset_are_refused() -> None:
    with pytest.raises(ValueError, match="no hyperparameter"):
        apply_preset("DEPTH = 1\n", PRESETS["cpu"])
    with pytest.raises(ValueError, match="choose one of"):
        find_preset("moon")


def test_values_over_several_lines_and_after_wide_characters_are_replaced() -> None:
    block = "".join(f"{name} = 0\n" for name in PRESETS["cpu"].hyperparameters if name != "DEPTH")
    text = f"X = 'ü'; DEPTH = (\n    7\n)  # layers\n{block}"
    changed = apply_preset(text, PRESETS["cpu"])
    namespace: dict[str, object] = {}
    exec(changed, namespace)
    assert namespace["DEPTH"] == PRESETS["cpu"].hyperparameters["DEPTH"]
    assert "# layers" in changed


DEVICES = [
    ("cpu", 0, "cpu"),
    ("mps", 0, "cpu"),
    ("NVIDIA H100 80GB HBM3", 80, "h100"),
    ("NVIDIA GeForce RTX 4090", 24, "24gb"),
    ("NVIDIA GeForce RTX 3060", 12, "12gb"),
    ("NVIDIA GeForce GTX 1050", 4, "cpu"),
]


@pytest.mark.parametrize(("device", "gib", "name"), DEVICES)
def test_the_preset_fits_the_device(device: str, gib: int, name: str) -> None:
    assert choose_preset(device, gib * 2**30) == name


def test_numbers_are_spelt_as_the_template_spells_them() -> None:
    assert spell(2**17) == "2**17"
    assert spell(128) == "128"
    assert spell(200_000) == "200000"
    assert spell(True) == "True"
    assert spell((0.8, 0.95)) == "(0.8, 0.95)"


PORTABLE = """
import builtins, importlib.util, sys
from pathlib import Path
for name in ("triton", "resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
def no_output(*args, **kwargs):
    raise AssertionError("importing printed")
builtins.print = no_output
before = set(Path(".").iterdir())
import trainer.harness.serve, trainer.harness.launch, trainer.harness.by_hand
spec = importlib.util.spec_from_file_location("candidate", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import threading, torch
assert set(Path(".").iterdir()) == before
assert threading.active_count() == 1
assert not torch.cuda.is_initialized()
assert "torch._dynamo" not in sys.modules  # as long to load as all the rest of torch, in each process
from trainer.harness.device import open_device, peak_memory_bytes
device = open_device("cpu")
assert not device.compiles
assert peak_memory_bytes(device) == 0
"""


def test_importing_has_no_effect_and_needs_neither_triton_nor_posix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PORTABLE, str(TEMPLATE)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
