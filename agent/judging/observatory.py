"""Tells runs whose numbers mean something from runs that the machine spoilt. Pure.

A void run is run again and never judged. What a candidate does to itself (crash, out of memory, too slow)
is never void: that is its result.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from agent.ledger.records import RunKind, RunRecord, Setup

# The trainer's fault, or the machine's: says nothing of the candidate.
FAULTS = frozenset({"INTERRUPTED", "CANCELLED", "DEVICE_LOST", "INTERNAL", "DATA_ERROR", "DISK_FULL"})
SLOWDOWN = 0.10
ENOUGH_RUNS = 3


def void_reason(run: RunRecord, earlier: Sequence[RunRecord], setup: Setup) -> str:
    """Why a run that ended must not be judged; empty when it may.

    `earlier` are usable runs of the same source. Under a time budget a run of known code that was more than
    10 % slower than the median of its earlier runs had less training: throttling or a co-tenant.
    """
    if run.failure_reason in FAULTS:
        return f"{run.failure_reason}: {run.failure_message}".rstrip(": ")
    if run.failure_reason:
        why = f"{run.failure_reason}: {run.failure_message}".rstrip(": ")
        return "" if run.kind is RunKind.CANDIDATE else f"the incumbent failed: {why}"
    if run.val_bpb is None:
        return "the trainer gave no score"
    if setup.device_class and run.device_class and run.device_class != setup.device_class:
        return f"ran on device class {run.device_class}, the session measures on {setup.device_class}"
    if setup.attention and run.attention and run.attention != setup.attention and run.kind is not _CANDIDATE:
        return f"ran with attention {run.attention}, the session measures with {setup.attention}"
    speeds = [other.tokens_per_second for other in earlier if other.tokens_per_second > 0]
    if setup.budget_kind == "time" and len(speeds) >= ENOUGH_RUNS and run.tokens_per_second > 0:
        usual = statistics.median(speeds)
        if run.tokens_per_second < usual * (1 - SLOWDOWN):
            return (
                f"{run.tokens_per_second:.0f} tokens/s where this code usually makes {usual:.0f}: throttled "
                "or not alone on the device"
            )
    return ""


_CANDIDATE = RunKind.CANDIDATE
