"""`python -m trainer.bench.weber`: does the Weber bracket do anything, at a size that is soon repeated.

Fixed steps, same seeds, same rows, same initial weights. Arms: off; raw (gradient units, as first
proposed); normalized at two c^2; mean (normalized, divided by its own mean: if this loses the effect, it
was a change of learning rate); shuffle (the same values permuted over elements: the placebo). Screen on
seeds 1 to 8, confirm the best arm against off on others with --first-seed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.bench.comparison import main as bench


@dataclass(frozen=True)
class Size:
    """What a run is on a kind of device: a preset, changes to it, tokens in all, further flags."""

    preset: str
    changes: str
    tokens: int
    flags: tuple[str, ...] = ()


NO_LOOKUP = "RECALL='';MEMORY=''"  # the model of the figures in docs/log.md
SIZES = {
    "cpu": Size(
        "cpu",
        "DEPTH=2;ASPECT_RATIO=32;HEAD_DIM=32;DEVICE_BATCH_SIZE=4;TOTAL_BATCH_SIZE=2**10;" + NO_LOOKUP,
        100 * 2**10,
    ),
    "cuda": Size(  # so small that compiling would take longer than training
        "h100",
        "DEPTH=4;ASPECT_RATIO=64;HEAD_DIM=64;DEVICE_BATCH_SIZE=16;TOTAL_BATCH_SIZE=2**15;NGRAM_ORDER=1;"
        + NO_LOOKUP,
        200 * 2**15,
        ("--compile", "off", "--attention", "varlen"),
    ),
}
ARMS = {
    "off": "WEBER_MODE='off'",
    "raw": "WEBER_MODE='raw';WEBER_C_SQ=1.0",
    "normalized": "WEBER_MODE='normalized';WEBER_C_SQ=1.0",
    "normalized-4": "WEBER_MODE='normalized';WEBER_C_SQ=4.0",
    "mean": "WEBER_MODE='normalized';WEBER_C_SQ=1.0;WEBER_CONTROL='mean'",
    "shuffle": "WEBER_MODE='normalized';WEBER_C_SQ=1.0;WEBER_CONTROL='shuffle'",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes are those of trainer.bench.comparison."""
    parser = argparse.ArgumentParser(prog="python -m trainer.bench.weber", description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--dataset", type=Path, required=True, help="a data set of that size's preset")
    parser.add_argument("--arms", default=",".join(ARMS), help="some of " + ", ".join(ARMS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("weber.jsonl"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    unknown = set(options.arms.split(",")) - set(ARMS)
    if unknown:
        parser.error(f"unknown arms {', '.join(sorted(unknown))}; choose from {', '.join(ARMS)}")
    size = SIZES[options.device]
    arms = ",".join(f"{name}:{size.changes};{ARMS[name]}" for name in options.arms.split(","))
    command = ["--arms", arms, "--preset", size.preset, "--dataset", str(options.dataset)]
    command += ["--device", options.device, "--in-process", "--token-budget", str(size.tokens), *size.flags]
    command += ["--seeds", str(options.seeds), "--first-seed", str(options.first_seed)]
    command += ["--threads", str(options.threads), "--out", str(options.out)]
    return bench([*command, "--json"] if options.json else command)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
