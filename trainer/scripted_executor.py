"""The `scripted` executor: invents a smooth score from the hyperparameters, plus noise from the seed.

For demos and for tests of the agent: nothing is trained. `trainerd --executor scripted`.
"""

from __future__ import annotations

import ast
import asyncio
import math
import random
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType

from services.errors import FailedPreconditionError
from trainer.executor import (
    Capabilities,
    DeviceInfo,
    EndEvent,
    Job,
    LogEvent,
    MetricEvent,
    PhaseEvent,
    RunEvent,
    SampleRequest,
)
from trainer.experiment import Evaluation, ExperimentRequest, Failure, Result, State, Tier

NOISE_BPB = 0.004  # one sigma between seeds
STEPS = 20
LARGEST = 1e300  # what a source may assign and a float still holds
# Where the invented landscape has its optimum, and how much a factor of two away from it costs.
OPTIMUM: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "MATRIX_LR": (0.025, 0.030),
        "EMBEDDING_LR": (0.45, 0.012),
        "UNEMBEDDING_LR": (0.008, 0.010),
        "SCALAR_LR": (0.5, 0.004),
        "DEPTH": (5, 0.040),
        "ASPECT_RATIO": (40, 0.020),
        "WEIGHT_DECAY": (0.1, 0.006),
        "TOTAL_BATCH_SIZE": (2**12, 0.020),
        "WARMDOWN_RATIO": (0.6, 0.015),
        "INIT_SCALE": (0.8, 0.008),
        "ROPE_BASE": (30_000, 0.002),
        "X0_LAMBDA_INIT": (0.08, 0.002),
    }
)


class ScriptedExecutor:
    """Runs take `seconds`. A source that does not parse, or that assigns a failure name to FAIL
    at its top level (`FAIL = "NOT_FINITE"`), fails with that reason."""

    name = "scripted"
    needs_data = False

    def __init__(self, seconds: float = 0.3, slots: int = 1) -> None:
        self._seconds = seconds
        self._slots = slots

    async def capabilities(self) -> Capabilities:
        devices = tuple(DeviceInfo("cpu", "cpu", 0, "cpu", "scripted", i) for i in range(self._slots))
        warning = "executor scripted: scores are invented, nothing is trained"
        return Capabilities(devices, (Tier.NONE,), Tier.NONE, warnings=(warning,))

    async def check(self, request: ExperimentRequest) -> str:
        if request.device_class not in ("", "cpu"):
            raise FailedPreconditionError(
                f"device_class {request.device_class!r} is not here; this trainer has cpu",
                reason="DEVICE_CLASS_MISMATCH",
            )
        return request.data_hash or "scripted"

    async def run(self, job: Job) -> AsyncIterator[RunEvent]:
        result = invent_result(job.source, job.request)
        yield LogEvent("trainer", "scripted: this score is invented")
        if result.failure is Failure.SYNTAX_ERROR:
            yield EndEvent(result)
            return
        yield PhaseEvent(State.TRAINING)
        end = result.final_loss or 4.0
        for step in range(STEPS):
            await asyncio.sleep(self._seconds / STEPS)
            progress = (step + 1) / STEPS
            loss = end + (7.6 - end) * math.exp(-5 * progress)
            yield MetricEvent(step, {"loss": loss, "progress": progress}, progress)
            if result.failure is not None and step == STEPS // 2:
                yield EndEvent(result)
                return
        yield PhaseEvent(State.EVALUATING, progress=1.0)
        yield EndEvent(result)

    async def sample(self, job: Job, request: SampleRequest) -> str:
        return f"{request.prompt} (scripted: there is no model behind this text)"

    async def recover(self, folder: Path, *, adopt: bool) -> bool:
        return False  # nothing runs outside of this process

    async def release(self) -> bool:
        return False


def invent_result(source: str, request: ExperimentRequest) -> Result:
    """The result for a source and a seed; the same each time."""
    try:
        numbers = read_numbers(source)
    except SyntaxError as error:
        message = f"SyntaxError: {error.msg} (train.py, line {error.lineno})"
        return Result(failure=Failure.SYNTAX_ERROR, failure_message=message)
    failure = numbers.get("FAIL")
    if isinstance(failure, str):
        known = failure if failure in Failure.__members__ else "RUNTIME_ERROR"
        return Result(failure=Failure[known], failure_message=f"scripted failure {known}")
    known_numbers = {k: v for k, v in numbers.items() if isinstance(v, int | float) and abs(v) < LARGEST}
    score = 1.60 + landscape({k: float(v) for k, v in known_numbers.items()})
    # The same seed shifts every source alike, and each source a little on its own: pairs help, as in life.
    shared = random.Random(request.seed.value).gauss(0, NOISE_BPB * 0.8)
    own = random.Random(request.seed.value ^ zlib.crc32(source.encode())).gauss(0, NOISE_BPB * 0.6)
    score += shared + own
    tokens = int(min(request.budget.amount, 2**53)) if request.budget.kind == "tokens" else 200_704
    depth = numbers.get("DEPTH", 4)
    return Result(
        val_bpb=score,
        val_bpb_legacy=score * 0.99,
        initial_loss=7.62,
        final_loss=score * 2.2,
        training_seconds=12.0,
        total_seconds=15.0,
        num_steps=tokens // 2048,
        tokens=tokens,
        num_parameters=1_500_000,
        depth=int(depth) if isinstance(depth, int | float) and 0 <= depth < 2**31 else 0,
        vocabulary_size=2048,
        peak_memory_bytes=400_000_000,
        device="scripted",
        device_class=request.device_class or "cpu",
        attention="scripted",
        data_hash=request.data_hash,
        evaluation=Evaluation(32_768, 100_000, 1.0, 0.1),
    )


def read_numbers(source: str) -> dict[str, int | float | str]:
    """Top-level `NAME = literal` of a source, arithmetic such as 2**17 included. Raises SyntaxError."""
    found: dict[str, int | float | str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        value = _literal(node.value)
        if value is not None:
            found[node.targets[0].id] = value
    return found


def landscape(numbers: Mapping[str, float]) -> float:
    """Bits per byte above the optimum: a bowl in log space, flattened far out."""
    cost = 0.0
    for name, (best, weight) in OPTIMUM.items():
        value = numbers.get(name, best)
        distance = math.log2(value / best) if value > 0 else 4.0
        cost += weight * min(distance * distance, 16.0)
    return cost


def _literal(node: ast.expr) -> int | float | str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        base, power = _literal(node.left), _literal(node.right)
        if isinstance(base, int) and isinstance(power, int) and 0 <= power <= 64:
            return int(base**power)
    return None
