"""Named settings for a kind of device: hyperparameters, data shape and budget. No torch here."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

GIB = 2**30
Value = int | float | str | bool | tuple[float, float]


@dataclass(frozen=True)
class Preset:
    """What a lab is made with.

    hyperparameters are written into the block of train.py; budget_amount is in seconds, tokens or
    floating-point operations as budget_kind says; validation_tokens are scored after training.
    packing crop is the ancestors': what does not fit a row is dropped, which is most of a source whose
    documents are longer than a row; split keeps it in further rows.
    max_bytes bounds the text of the `python` source (0: all of it).
    """

    name: str
    device_class: str
    context_length: int
    vocab_size: int
    budget_kind: str
    budget_amount: float
    validation_tokens: int
    hyperparameters: Mapping[str, Value]
    packing: str = "crop"
    max_bytes: int = 0
    source: str = "python"
    eval_batch_rows: int = 64

    def size(self, name: str) -> int:
        """A hyperparameter that is a number of something, such as DEVICE_BATCH_SIZE."""
        return int(str(self.hyperparameters[name]))

    def with_values(self, changes: Mapping[str, Value]) -> "Preset":
        """The same with other values of some hyperparameters."""
        return replace(self, hyperparameters={**self.hyperparameters, **changes})


# The ancestors' way of computing stands with their settings: the fork's attention ignores its windows.
FORK: dict[str, Value] = {
    "DEPTH": 9, "ASPECT_RATIO": 57, "HEAD_DIM": 128, "WINDOW_PATTERN": "SSSSL", "SHORT_WINDOW_DIVISOR": 8,
    "DEVICE_BATCH_SIZE": 128, "TOTAL_BATCH_SIZE": 2**18,
    "EMBEDDING_LR": 0.9, "UNEMBEDDING_LR": 0.005, "MATRIX_LR": 0.04, "SCALAR_LR": 0.5, "SCALAR_EPS": 1e-10,
    "WEIGHT_DECAY": 0.2, "EMBEDDING_WD": 0.001, "VE_WD": 0.003, "LM_HEAD_WD": 0.01,
    "ADAM_BETAS": (0.8, 0.95), "WARMUP_RATIO": 0.0, "WARMDOWN_RATIO": 0.75, "FINAL_LR_FRAC": 0.05,
    "ROPE_BASE": 200_000, "INIT_SCALE": 0.68, "X0_LAMBDA_INIT": 0.05,
    "WEBER_MODE": "raw", "WEBER_C_SQ": 1.0, "MUON_MOMENTUM_STEPS": 200,
    "FUSED_LOSS": False, "MERGE_QKV": False, "PREFETCH": False, "WINDOWS": False, "ATTENTION": "sdpa",
}  # fmt: skip
UPSTREAM: dict[str, Value] = FORK | {
    "DEPTH": 8, "ASPECT_RATIO": 64, "WINDOW_PATTERN": "SSSL", "SHORT_WINDOW_DIVISOR": 2,
    "TOTAL_BATCH_SIZE": 2**19, "EMBEDDING_LR": 0.6, "UNEMBEDDING_LR": 0.004,
    "EMBEDDING_WD": 0.0, "VE_WD": 0.0, "LM_HEAD_WD": 0.0, "WARMDOWN_RATIO": 0.5, "FINAL_LR_FRAC": 0.0,
    "ROPE_BASE": 10_000, "INIT_SCALE": 1.0, "X0_LAMBDA_INIT": 0.1, "WEBER_MODE": "off",
    "WINDOWS": True, "ATTENTION": "flex",
}  # fmt: skip
FAST: dict[str, Value] = {
    "FUSED_LOSS": True, "MERGE_QKV": True, "PREFETCH": True, "WINDOWS": True, "ATTENTION": "",
}  # fmt: skip
OURS: dict[str, Value] = FORK | FAST | {
    "WEBER_MODE": "off", "SCALAR_EPS": 1e-6, "RECALL": "1 2 3", "MEMORY": "2 4 6 8 12", "MEMORY_BITS": 24,
    "LOOKUP_LR": 0.9,
}  # fmt: skip
NGRAMS: dict[str, Value] = {"NGRAM_ORDER": 3, "NGRAM_ROWS": 16, "NGRAM_LR": 0.3}
CPU: dict[str, Value] = {
    "DEPTH": 4, "ASPECT_RATIO": 32, "HEAD_DIM": 64, "WINDOW_PATTERN": "L",
    "DEVICE_BATCH_SIZE": 8, "TOTAL_BATCH_SIZE": 2**11, "UNEMBEDDING_LR": 0.01,
    "RECALL": "1 2 3", "MEMORY": "2 4 6 8 12",
}  # fmt: skip
TINY: dict[str, Value] = {
    "DEPTH": 2, "ASPECT_RATIO": 16, "HEAD_DIM": 16, "WINDOW_PATTERN": "SL",
    "DEVICE_BATCH_SIZE": 8, "TOTAL_BATCH_SIZE": 2**9,
}  # fmt: skip


def _gpu(name: str, values: dict[str, Value], device_class: str = "cuda", **fields: object) -> Preset:
    shape: dict[str, object] = {
        "context_length": 2048, "vocab_size": 8192, "budget_kind": "time", "budget_amount": 300.0,
        "validation_tokens": 4_194_304, "hyperparameters": MappingProxyType(values),
    }  # fmt: skip
    return Preset(name=name, device_class=device_class, **(shape | fields))  # type: ignore[arg-type]


_ALL = (
    Preset(
        name="cpu",
        device_class="cpu",
        context_length=256,
        vocab_size=2048,
        budget_kind="tokens",
        budget_amount=200_704,  # 98 steps of 2,048 tokens
        validation_tokens=32_768,
        hyperparameters=MappingProxyType(CPU),
        packing="split",
        max_bytes=12_000_000,
        eval_batch_rows=16,
    ),
    Preset(  # for tests, and for a look at everything on a slow machine
        name="tiny",
        device_class="cpu",
        context_length=64,
        vocab_size=512,
        budget_kind="tokens",
        budget_amount=8_192,  # 16 steps of 512 tokens
        validation_tokens=4_096,
        hyperparameters=MappingProxyType(TINY),
        packing="split",
        max_bytes=1_500_000,
        eval_batch_rows=16,
    ),
    _gpu(
        "seed-3060",
        FORK | {"DEPTH": 4, "DEVICE_BATCH_SIZE": 16, "TOTAL_BATCH_SIZE": 2**16, "WINDOW_PATTERN": "SL"},
    ),
    _gpu(
        "seed-4090",
        FORK | {"DEPTH": 6, "DEVICE_BATCH_SIZE": 32, "TOTAL_BATCH_SIZE": 2**17, "WINDOW_PATTERN": "SSL"},
    ),
    _gpu("seed-h100", FORK),
    _gpu("seed-h100-fast", FORK | FAST | {"WEBER_MODE": "off", "DEVICE_BATCH_SIZE": 64}),
    _gpu("upstream-h100", UPSTREAM),
    _gpu(
        "h100",
        OURS | NGRAMS | {"DEPTH": 8, "ASPECT_RATIO": 80, "DEVICE_BATCH_SIZE": 32, "TOTAL_BATCH_SIZE": 2**16},
        packing="split",
    ),
    _gpu(
        "24gb",  # n-gram tables take 4.3 GB with their gradients and moments
        OURS | NGRAMS | {"DEPTH": 8, "ASPECT_RATIO": 64, "DEVICE_BATCH_SIZE": 32, "TOTAL_BATCH_SIZE": 2**16},
        packing="split",
    ),
    _gpu(
        "12gb",
        OURS | NGRAMS | {"DEPTH": 6, "ASPECT_RATIO": 64, "DEVICE_BATCH_SIZE": 16, "TOTAL_BATCH_SIZE": 2**15},
        packing="split",
    ),
)
PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError that lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def choose_preset(device_name: str, memory_bytes: int) -> str:
    """Name of the preset for a device as torch names it (`cpu`, `mps`, `NVIDIA H100 80GB HBM3`)."""
    if device_name.lower() in ("", "cpu", "mps"):
        return "cpu"
    if memory_bytes >= 60 * GIB:
        return "h100"
    if memory_bytes >= 20 * GIB:
        return "24gb"
    return "12gb" if memory_bytes >= 8 * GIB else "cpu"


def apply_preset(text: str, preset: Preset) -> str:
    """The text of a train.py with the preset's values in its hyperparameter block.

    Only the value of each top-level `NAME = literal` is replaced; comments and layout stay. Raises
    ValueError when the text has no assignment for one of the names.
    """
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    found: dict[str, ast.expr] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, node.value)
    missing = sorted(set(preset.hyperparameters) - set(found))
    if missing:
        raise ValueError(
            f"train.py has no hyperparameter {', '.join(missing)}, which preset {preset.name} sets"
        )
    for name, value in preset.hyperparameters.items():
        node_value = found[name]
        first, last = node_value.lineno - 1, (node_value.end_lineno or node_value.lineno) - 1
        head = lines[first].encode()[: node_value.col_offset].decode()
        tail = lines[last].encode()[node_value.end_col_offset or 0 :].decode()
        lines[first : last + 1] = [head + spell(value) + tail] + [""] * (last - first)
    return "".join(lines)


def spell(value: Value) -> str:
    """A Python literal; powers of two from 2**11 on are written as such, as the template does."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**11 and value & (value - 1) == 0:
        return f"2**{value.bit_length() - 1}"
    return repr(value)
