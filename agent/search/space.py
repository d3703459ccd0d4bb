"""What may be changed in the hyperparameter block: one table of types, limits and search ranges.

`low` and `high` are hard limits: a value outside is refused before a run is spent on it. `search_low`
and `search_high` are where the keyless search looks (the limits when left out). Log scale is for
quantities whose effect is proportional: rates, sizes, decays. A name that is not in the table may still
be set by hand; it then keeps the type of its present value, and search leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Value = int | float | str | bool | tuple[float, ...]
Kind = Literal["int", "float", "power_of_two", "choice", "pattern", "switch", "betas"]


@dataclass(frozen=True)
class Parameter:
    """One name of the block.

    `zero` allows exactly 0 beside a logarithmic range (a decay that is off); `step` is the grid of whole
    numbers; `weight` says how often search turns to it before it knows better; `searched` False leaves it
    to people. `around` narrows the search to the incumbent's value times or over that factor: what changes
    the size of a run must not jump. A text of kind `pattern` must match `form` in full, which `wanted` says
    in words, and have `high` characters at most.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    search_low: float | None = None
    search_high: float | None = None
    log: bool = False
    zero: bool = False
    step: int = 1
    choices: tuple[Value, ...] = ()
    searched: bool = True
    weight: float = 1.0
    around: float = 0.0
    form: str = ""
    wanted: str = ""

    @property
    def search_range(self) -> tuple[float, float]:
        low = self.low if self.search_low is None else self.search_low
        high = self.high if self.search_high is None else self.search_high
        return low, high


BETAS: tuple[Value, ...] = ((0.65, 0.95), (0.8, 0.95), (0.8, 0.99), (0.9, 0.95), (0.9, 0.99))
ATTENTION: tuple[Value, ...] = (
    "", *(name + full for name in ("flex", "varlen", "sdpa", "fa3", "fa4") for full in ("", "+cudnn"))
)  # fmt: skip
LENGTHS, IN_WORDS = r"([1-9]\d?( [1-9]\d?)*)?", "numbers with spaces between, such as 1 2 3, or nothing"


def _table(*parameters: Parameter) -> Mapping[str, Parameter]:
    return MappingProxyType({parameter.name: parameter for parameter in parameters})


PARAMETERS: Mapping[str, Parameter] = _table(
    # Shape. Context length and vocabulary belong to the data, not to the candidate.
    Parameter("DEPTH", "int", 1, 64, 2, 14, around=1.5, weight=1.5),
    Parameter("ASPECT_RATIO", "int", 8, 256, 16, 112, step=8, around=1.5),
    Parameter("HEAD_DIM", "choice", choices=(32, 64, 128), searched=False),
    Parameter(
        "WINDOW_PATTERN",
        "pattern",
        1,
        64,
        choices=("L", "SL", "SSL", "SSSL", "SSSSL"),
        form="[SL]+",
        wanted="letters S (short window) and L (full)",
    ),
    Parameter("SHORT_WINDOW_DIVISOR", "power_of_two", 1, 64, 2, 16),
    Parameter("MLP_RATIO", "int", 1, 16, 2, 6),
    Parameter("MLP_ACTIVATION", "choice", choices=("relu2", "gelu", "silu")),
    # Batch. The device batch only decides what fits in memory, so search leaves it alone.
    Parameter("TOTAL_BATCH_SIZE", "power_of_two", 2**8, 2**23, log=True, around=4, weight=2.0),
    Parameter("DEVICE_BATCH_SIZE", "int", 1, 1024, searched=False),
    # Rates.
    Parameter("EMBEDDING_LR", "float", 0.0, 20.0, 0.1, 3.0, log=True, weight=2.0),
    Parameter("UNEMBEDDING_LR", "float", 0.0, 2.0, 5e-4, 0.05, log=True, weight=1.5),
    Parameter("MATRIX_LR", "float", 0.0, 2.0, 0.005, 0.2, log=True, weight=3.0),
    Parameter("SCALAR_LR", "float", 0.0, 20.0, 0.05, 3.0, log=True),
    Parameter("NGRAM_LR", "float", 0.0, 20.0, 0.05, 3.0, log=True),
    Parameter("LOOKUP_LR", "float", 0.0, 20.0, 0.05, 3.0, log=True),
    Parameter("GATE_LR", "float", 0.0, 20.0, 0.01, 1.0, log=True, zero=True),
    Parameter("SCALAR_EPS", "float", 0.0, 1.0, searched=False),
    # Decay.
    Parameter("WEIGHT_DECAY", "float", 0.0, 10.0, 0.01, 1.0, log=True, zero=True),
    Parameter("EMBEDDING_WD", "float", 0.0, 1.0, 1e-4, 0.02, log=True, zero=True, weight=0.7),
    Parameter("VE_WD", "float", 0.0, 1.0, 1e-4, 0.03, log=True, zero=True, weight=0.7),
    Parameter("LM_HEAD_WD", "float", 0.0, 1.0, 1e-4, 0.1, log=True, zero=True, weight=0.7),
    # Moments.
    Parameter("ADAM_BETAS", "betas", 0.0, 0.99999, choices=BETAS),
    Parameter("NGRAM_BETAS", "betas", 0.0, 0.99999, choices=BETAS, weight=0.5),
    Parameter("MUON_MOMENTUM_START", "float", 0.0, 0.999, searched=False),
    Parameter("MUON_MOMENTUM", "float", 0.0, 0.999, 0.85, 0.98),
    Parameter("MUON_MOMENTUM_END", "float", 0.0, 0.999, 0.75, 0.98),
    Parameter("MUON_ITERATIONS", "int", 1, 5, searched=False),
    Parameter("NORMUON", "switch", weight=0.5),
    Parameter("NORMUON_BETA2", "float", 0.0, 0.9999, searched=False),
    Parameter("MUON_MOMENTUM_STEPS", "int", 1, 100_000, 20, 600, log=True, weight=0.7),
    # Schedule.
    Parameter("WARMUP_RATIO", "float", 0.0, 0.9, 0.0, 0.1),
    Parameter("WARMDOWN_RATIO", "float", 0.0, 1.0, 0.2, 1.0, weight=2.0),
    Parameter("FINAL_LR_FRAC", "float", 0.0, 1.0, 0.0, 0.2, weight=1.5),
    # Initial values and constants of the model.
    Parameter("ROPE_BASE", "float", 10.0, 1e8, 1e3, 1e6, log=True, weight=0.7),
    Parameter("INIT_SCALE", "float", 1e-3, 10.0, 0.3, 1.5, log=True, weight=1.5),
    Parameter("X0_LAMBDA_INIT", "float", -2.0, 2.0, 0.0, 0.3),
    Parameter("RESID_LAMBDA_INIT", "float", 0.0, 2.0, 0.8, 1.2),
    Parameter("SOFTCAP", "float", 0.0, 1000.0, 8.0, 40.0, log=True),
    # Structure: what the template lets a name switch.
    Parameter("WEBER_MODE", "choice", choices=("off", "raw", "normalized"), weight=0.5),
    Parameter("WEBER_C_SQ", "float", 1e-6, 1e6, 0.25, 16.0, log=True, weight=0.5),
    Parameter("WEBER_CONTROL", "choice", choices=("none", "mean", "shuffle"), searched=False),
    Parameter("VALUE_EMBEDDINGS", "switch"),
    Parameter("QK_NORM", "switch", weight=0.5),
    Parameter("DOCUMENT_MASK", "switch", weight=0.5),
    Parameter("HEAD_GATES", "switch"),
    Parameter("HEAD_NORM", "switch"),
    Parameter("SMEAR", "switch"),
    Parameter("CAUTIOUS_ADAM", "switch"),
    Parameter("MUON_EQ", "switch"),
    Parameter("FUSED_LOSS", "switch", searched=False),
    Parameter("MERGE_QKV", "switch", searched=False),
    Parameter("PREFETCH", "switch", searched=False),
    Parameter("WINDOWS", "switch", searched=False),
    Parameter("ATTENTION", "choice", choices=ATTENTION, searched=False),
    Parameter("NGRAM_ORDER", "choice", choices=(1, 2, 3)),
    Parameter("NGRAM_ROWS", "power_of_two", 1, 256, 1, 16, log=True),
    Parameter(
        "RECALL", "pattern", 0, 32, choices=("", "1", "1 2", "1 2 3", "2 3 5"), form=LENGTHS, wanted=IN_WORDS
    ),
    Parameter(
        "MEMORY",
        "pattern",
        0,
        32,
        choices=("", "3", "2 4 8", "2 4 6 8 12", "3 5 7 9"),
        form=LENGTHS,
        wanted=IN_WORDS,
    ),
    Parameter("MEMORY_BITS", "int", 1, 26, searched=False),
    Parameter("NGRAM_EPOCHS", "float", 0.0, 1e6, searched=False),
    Parameter("BACKOUT", "float", 0.0, 1.0, 0.0, 0.4),
)


def is_active(name: str, block: Mapping[str, Value]) -> bool:
    """False for a hyperparameter that the rest of the block makes meaningless."""
    match name:
        case "WEBER_C_SQ":
            return block.get("WEBER_MODE") != "off"
        case "VE_WD":
            return bool(block.get("VALUE_EMBEDDINGS", True))
        case "SHORT_WINDOW_DIVISOR":
            return "S" in str(block.get("WINDOW_PATTERN", "S"))
        case "LOOKUP_LR":
            return bool(block.get("RECALL") or block.get("MEMORY"))
        case "MEMORY_BITS":
            return bool(block.get("MEMORY"))
        case "NGRAM_LR" | "NGRAM_ROWS" | "NGRAM_BETAS":
            return block.get("NGRAM_ORDER", 1) != 1
        case "GATE_LR":
            return any(bool(block.get(gate)) for gate in ("HEAD_GATES", "VALUE_EMBEDDINGS", "SMEAR"))
        case _:
            return True
