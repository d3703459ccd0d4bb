"""What a train.py will need, from its hyperparameter block alone: parameters, FLOPs, peak memory. No torch.

The memory model is a sum of terms with three fitted constants on CUDA (bytes saved per token, layer and
channel, and bytes per logit of either loss), fitted on three peaks of this train.py on an H200: 47.2 GB for
upstream's setting, 64.9 GB for the fork's (the ancestors' own files took as much) and 15.7 GB for 32 rows
of the preset h100. Four more, not used for the fit, are met within 4 % (docs/log.md). It describes the
template's own structure: a file whose code was rewritten may need more or less, so it is never refused,
and otherwise only a clear excess is.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.templates import TRAIN_PY

GIB = 2**30
REFUSED_ABOVE = 1.15  # share of the device's memory that an estimate may reach
SAVED_BYTES = {"cuda": 39.7, "cpu": 52.0}  # per token, layer and channel, for the backward pass
LOGIT_BYTES = {("cuda", True): 1.7, ("cuda", False): 1.6, ("cpu", True): 12.0, ("cpu", False): 24.0}
BASE_BYTES = {"cuda": 0.6 * GIB, "cpu": 0.32 * GIB}  # context and libraries


class TooLargeError(Exception):
    """The run cannot fit the device; the message says by how much and what to lower."""


@dataclass(frozen=True)
class Estimate:
    """flops_per_token covers forward and backward; peak_bytes is the largest memory use of training."""

    num_params: int
    width: int
    flops_per_token: float
    peak_bytes: float


def read_hyperparameters(text: str) -> dict[str, Any]:
    """Top-level `NAME = literal` of a train.py, 2**17 included. Raises SyntaxError for a broken file."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = _literal(node.value)
            except ValueError:
                continue
    return found


def estimate(
    values: Mapping[str, Any], vocab_size: int, context_length: int, device_kind: str = "cuda"
) -> Estimate:
    """The estimate for one device. Raises KeyError when the block lacks a structural name."""
    kind = "cpu" if device_kind == "cpu" else "cuda"
    depth, head_dim = values["DEPTH"], values["HEAD_DIM"]
    width = -(-depth * values["ASPECT_RATIO"] // head_dim) * head_dim
    per_layer = (4 + 2 * values.get("MLP_RATIO", 4)) * width**2
    extra_layers = (depth + 1) // 2
    tables = vocab_size * width * (1 + extra_layers * bool(values.get("VALUE_EMBEDDINGS", True)))
    orders = values.get("NGRAM_ORDER", 1) - 1
    tables += extra_layers * orders * values.get("NGRAM_ROWS", 0) * vocab_size * width
    recalled, kept = len(values.get("RECALL", "").split()), len(values.get("MEMORY", "").split())
    tables += (recalled + kept) * (-(-(vocab_size + 9) // 64) * 64) * width
    slots = 2 * kept * 2 ** values.get("MEMORY_BITS", 0) if kept else 0
    matrices, head = depth * per_layer, vocab_size * width
    seen = sum(_windows(values, depth, context_length))
    flops = 6.0 * (matrices + head) + 12.0 * width * seen

    tokens = values["DEVICE_BATCH_SIZE"] * context_length
    table_bytes = 2 if kind == "cuda" else 4  # weight, gradient and two momenta of each table
    static = 4 * table_bytes * tables + 4 * slots + 16 * head + 12 * matrices
    stacked = 16 * depth * max(4, 2 * values.get("MLP_RATIO", 4)) / 2 * width**2  # Muon's largest group
    casts = 2 * (matrices + head) if kind == "cuda" else 0
    fused = bool(values.get("FUSED_LOSS", True))
    saved = tokens * (depth * width * SAVED_BYTES[kind] + vocab_size * LOGIT_BYTES[kind, fused])
    # The stacked copies live while the saved activations do not.
    peak = BASE_BYTES[kind] + static + casts + max(saved, stacked)
    return Estimate(matrices + head + tables, width, flops, peak)


def refuse_too_large(
    text: str, vocab_size: int, context_length: int, device_kind: str, memory_bytes: int
) -> Estimate | None:
    """Raises TooLargeError when the estimate clearly exceeds the device; None when it cannot tell."""
    if _code(text) != _code(TRAIN_PY.read_text(encoding="utf-8")):
        return None
    try:
        needed = estimate(read_hyperparameters(text), vocab_size, context_length, device_kind)
    except (KeyError, SyntaxError, TypeError, ZeroDivisionError):
        return None
    if memory_bytes and needed.peak_bytes > REFUSED_ABOVE * memory_bytes:
        raise TooLargeError(
            f"this train.py needs about {needed.peak_bytes / GIB:.1f} GiB, the device has"
            f" {memory_bytes / GIB:.1f}; lower DEVICE_BATCH_SIZE (TOTAL_BATCH_SIZE may stay) or DEPTH"
        )
    return needed


def _code(text: str) -> str:
    """What follows the hyperparameter section."""
    return text.partition("# === SECTION: model ===")[2]


def _windows(values: Mapping[str, Any], depth: int, context_length: int) -> list[int]:
    if not values.get("WINDOWS", True):
        return [context_length] * depth
    pattern = values.get("WINDOW_PATTERN", "L")
    short = max(1, context_length // values.get("SHORT_WINDOW_DIVISOR", 1))
    windows = [short if pattern[i % len(pattern)] == "S" else context_length for i in range(depth)]
    windows[-1] = context_length
    return windows


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, exponent = _literal(node.left), _literal(node.right)
        if isinstance(base, int) and isinstance(exponent, int) and 0 <= exponent <= 64:
            return base**exponent
        raise ValueError("not a small power")
    return ast.literal_eval(node)
