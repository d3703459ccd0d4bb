"""Runs NIST's own estimator where it is installed: ea_non_iid of SP800-90B_EntropyAssessment."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from entropyd.assessment.estimators import Estimates
from entropyd.health_tests.continuous_tests import Samples

TOOL = "ea_non_iid"
TIMEOUT_SECONDS = 900.0
AGREEMENT_BITS = 0.01
_RESULT = re.compile(r"H_(original|bitstring):\s*([0-9.]+)")
_ESTIMATE = re.compile(r"(Most Common Value|Markov)[^=\n]*?(\(bit string\))?\s*=\s*([0-9.]+)\s*/")


def run_nist_tool(samples: Samples, tool: str = TOOL) -> tuple[dict[str, float], str]:
    """What the tool found, by name, and one line on it; ({}, "") when it is not on the PATH.

    "original" and "bitstring" are its two results in bits per sample and per bit; "common_value",
    "bit_common_value" and "bit_markov" are single estimates, where its version prints them.
    """
    program = shutil.which(tool)
    if program is None:
        return {}, ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.bin"
        path.write_bytes(samples.tobytes())
        command = [program, "-v", str(path), "8"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {}, f"{TOOL} failed: {type(error).__name__}"
    found = {name: float(value) for name, value in _RESULT.findall(done.stdout)}
    if done.returncode != 0 or not found:
        return {}, f"{TOOL} failed with exit code {done.returncode}"
    text = ", ".join(f"H_{name} {value:.3f}" for name, value in found.items())
    for test, on_bits, value in _ESTIMATE.findall(done.stdout):
        prefix = "bit_" if on_bits else ""
        found[prefix + ("common_value" if test.startswith("Most") else "markov")] = float(value)
    return found, text


def nist_results(found: dict[str, float]) -> list[float]:
    """Its results in bits per 8-bit sample."""
    return [found[name] * factor for name, factor in (("original", 1), ("bitstring", 8)) if name in found]


def compare_with_ours(found: dict[str, float], ours: Estimates) -> list[str]:
    """Where its estimates and ours differ by more than 0.01 bit, one line each."""
    return [
        f"{name}: {TOOL} says {found[name]:.3f}, we say {getattr(ours, name):.3f}"
        for name in ("common_value", "bit_common_value", "bit_markov")
        if name in found and abs(found[name] - getattr(ours, name)) > AGREEMENT_BITS
    ]
