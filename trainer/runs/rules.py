"""Rules of a run that the daemon checks itself: times, counts, and why a process ended. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.experiment import Audit, Budget, Failure, Finding
from trainer.runs.events import TrainingRecord
from trainer.sandbox.launch import Ending

# What a candidate's own failure event may say -> our names.
CANDIDATE_REASONS = {
    "SYNTAX_ERROR": Failure.SYNTAX_ERROR,
    "IMPORT_ERROR": Failure.IMPORT_ERROR,
    "CONTRACT_VIOLATION": Failure.CONTRACT_VIOLATION,
    "NOT_FINITE": Failure.NOT_FINITE,
    "OUT_OF_MEMORY_HOST": Failure.OUT_OF_HOST_MEMORY,
    "OUT_OF_MEMORY_DEVICE": Failure.OUT_OF_DEVICE_MEMORY,
    "DISK_FULL": Failure.DISK_FULL,
    "COMPILE_FAILED": Failure.COMPILE_FAILED,
    "DEVICE_LOST": Failure.DEVICE_LOST,
    "RUNTIME_ERROR": Failure.RUNTIME_ERROR,
}
LIMIT_MESSAGES = {
    "memory": "the run used more memory than its cap",
    "processes": "the run had more processes than its cap",
    "scratch": "the run filled more disk than its cap",
    "files": "the run made more files than its cap",
    "device": "the run used more memory of its device than its cap",
    "output": "the run printed more than its cap",
}
MOST_WORK, SPARE_CPU_SECONDS = 40.0, 10.0
CPU_CLOCK_SECONDS = 0.05  # the kernel counts CPU time in ticks of 10 ms, several processes each
_VIOLATION = re.compile(
    r"PermissionError|Operation not permitted|Permission denied|Read-only file system|Network is unreachable"
    r"|name resolution|Name or service not known|Cannot assign requested address"
    r"|Invalid cross-device link"  # how Landlock answers a hard link to what lies outside
)
_MISSING = re.compile(r"FileNotFoundError: .*'(/[^']+)'")


@dataclass(frozen=True)
class TimeRules:
    """Seconds, by the daemon's clock: before training may begin, between its end and the process's, for the
    whole; and CPU seconds that may be used before training begins (0: not judged)."""

    setup: float
    finish: float
    wall: float
    setup_cpu: float

    def training_limit(self, budget: Budget) -> float:
        """Longest time from start to end; a budget by time may be overrun by its last step."""
        if budget.kind != "time":
            return self.wall
        return budget.amount * 1.05 + max(2.0, min(budget.amount * 0.1, 30.0))

    def deadline(self, began: float, record: TrainingRecord, budget: Budget) -> tuple[str, float]:
        """The phase that a run is in, and when it must be over; times are those of the record."""
        if record.start_time is None:
            return "setup", began + self.setup
        if record.end_time is None:
            return "training", record.start_time + self.training_limit(budget)
        return "finish", record.end_time + self.finish

    def overrun(self, began: float, record: TrainingRecord, ended: float, budget: Budget) -> str:
        """The first phase that lasted too long, also while no daemon looked; "" for none."""
        start, end = record.start_time, record.end_time
        limits = (
            ("setup", (start or ended) - began, self.setup),
            ("training", (end or ended) - (start or ended), self.training_limit(budget)),
            ("finish", ended - (end or ended), self.finish),
        )
        return next((name for name, lasted, limit in limits if lasted > limit), "")


def time_rules(budget: Budget, on_gpu: bool, setup: float, wall: float, threads: int) -> TimeRules:
    """The rules for a budget; setup and wall are the settings', 0 for the defaults."""
    setup = setup or (600.0 if on_gpu else 120.0)
    if not wall:
        training = budget.amount * 1.2 if budget.kind == "time" else 3600.0
        wall = setup + training + 120.0
    return TimeRules(setup, 60.0 if on_gpu else 30.0, wall, 0.0 if on_gpu else 15.0 + 5.0 * threads)


def classify_ending(
    ending: Ending,
    record: TrainingRecord,
    overrun: str,
    tail: Sequence[str],
    exists: Callable[[str], bool] = os.path.exists,
) -> tuple[Failure, str] | None:
    """Why a training process failed, or None when it ended well. overrun names the time rule or cap by
    which the daemon ended it; exists says what is there outside of the sandbox."""
    if overrun in LIMIT_MESSAGES or ending.limit in LIMIT_MESSAGES:
        name = overrun if overrun in LIMIT_MESSAGES else ending.limit
        memory = {"memory": Failure.OUT_OF_HOST_MEMORY, "device": Failure.OUT_OF_DEVICE_MEMORY}
        failure = memory.get(name, Failure.LIMIT_EXCEEDED)
        return failure, LIMIT_MESSAGES[name]
    if overrun or ending.limit == "wall":
        texts = {
            "setup": "training did not begin in time",
            "finish": "the process did not end in time after training",
            "training": "training went on beyond its budget",
        }
        return Failure.TIMEOUT, texts.get(overrun, "the run took longer than its wall-clock limit")
    if ending.limit == "abandoned":
        return Failure.INTERRUPTED, "no trainer looked after the run for longer than --orphan-seconds"
    if ending.limit == "stopped":
        return Failure.INTERRUPTED, "the run ended with the trainer; start it again under a new id"
    if ending.error or ending.code == 126:
        return Failure.INTERNAL, f"the sandbox could not start the run: {ending.error or _last(tail)}"
    if record.failure_reason:
        failure = CANDIDATE_REASONS.get(record.failure_reason, Failure.RUNTIME_ERROR)
        message = record.failure_message.splitlines()[0] if record.failure_message else failure.value
        if failure in (Failure.RUNTIME_ERROR, Failure.IMPORT_ERROR):
            failure = _refine(failure, message, exists)
        return failure, message
    if ending.signal or ending.code > 128:  # a shell's way, and bubblewrap's, to tell of a signal
        return _classify_signal(ending.signal or ending.code - 128)
    if ending.code:
        return Failure.RUNTIME_ERROR, f"the process ended with code {ending.code}: {_last(tail)}"
    return None


def _refine(failure: Failure, message: str, exists: Callable[[str], bool]) -> Failure:
    """Sees in an exception's text that the sandbox stood in the way."""
    if "File too large" in message:
        return Failure.LIMIT_EXCEEDED
    missing = _MISSING.search(message)
    hidden = missing is not None and exists(missing[1])
    return Failure.SANDBOX_VIOLATION if hidden or _VIOLATION.search(message) else failure


def _classify_signal(number: int) -> tuple[Failure, str]:
    if number == 25:  # SIGXFSZ
        return Failure.LIMIT_EXCEEDED, "the run wrote a larger file than its cap"
    if number == 31:  # SIGSYS
        return Failure.SANDBOX_VIOLATION, "the run made a system call that the sandbox refuses"
    return Failure.KILLED, f"the process was killed by signal {number}"


def check_training(
    record: TrainingRecord, facts: dict[str, object], budget: Budget, row_tokens: int = 1
) -> list[Audit]:
    """Whether the run's own figures hang together: begun, ended, steps and tokens as the checkpoint says, one
    row at least, within the budget."""
    audits = []
    stated = (facts.get("num_steps"), facts.get("tokens"))
    began = record.start_time is not None and record.end_time is not None
    trained = began and record.num_steps > 0 and record.tokens >= row_tokens and record.last_step >= 0
    bound = stated == (record.num_steps, record.tokens) and record.last_step < record.num_steps
    audits.append(_audit("steps", trained and bound, Finding.UNTRAINED))
    if budget.kind == "tokens":
        audits.append(_audit("budget", record.tokens <= budget.amount, Finding.BUDGET_EXCEEDED))
    return audits


def check_work(
    record: TrainingRecord, forward_cpu_seconds: float, scored_tokens: int, budget: Budget, threads: int
) -> Audit:
    """Whether training took the CPU time that it must have: a step costs three forward passes or more, so
    one is well below what any honest run needs, and MOST_WORK of them far above. In a budget by time it is
    bounded by the threads that the run was given (0: not)."""
    used = record.cpu_at_end - record.cpu_before_start
    needed = forward_cpu_seconds * record.tokens / max(scored_tokens, 1)
    if used + CPU_CLOCK_SECONDS < needed:
        return _audit("work", False, Finding.UNTRAINED)
    most = MOST_WORK * needed + SPARE_CPU_SECONDS
    if budget.kind == "time":
        lasted = (record.end_time or 0.0) - (record.start_time or 0.0)
        most = (threads + 0.5) * lasted + SPARE_CPU_SECONDS / 5 if threads else used
    return _audit("work", not needed or used <= most, Finding.BUDGET_EXCEEDED)


def check_overhead(
    record: TrainingRecord, cpu_in_all: float, start_cpu: float, weights_bytes: int, setup_cpu: float
) -> list[Audit]:
    """Whether little was computed before training began and after it ended, on a CPU. start_cpu is what this
    machine takes to load the harness and torch, setup_cpu the rule's bound whatever the machine is like."""
    before = min(setup_cpu, 3.0 + 4.0 * start_cpu)
    after = min(setup_cpu, 2.0 + 2.0 * start_cpu) + weights_bytes / 1e8
    names = ("work-before-start", "work-after-end")
    within = (record.cpu_before_start <= before, cpu_in_all - record.cpu_at_end <= after)
    return [_audit(name, one, Finding.BUDGET_EXCEEDED) for name, one in zip(names, within, strict=True)]


def check_finish(record: TrainingRecord, ended: float, weights_bytes: int) -> Audit:
    """The same after the end on a GPU, where only the clock tells: what writing the weights takes."""
    lasted = ended - (record.end_time or ended)
    return _audit("work-after-end", lasted <= 20.0 + weights_bytes / 2e7, Finding.BUDGET_EXCEEDED)


def _audit(name: str, passed: bool, finding: Finding) -> Audit:
    return Audit(name, passed, finding=None if passed else finding)


def _last(tail: Sequence[str]) -> str:
    return tail[-1][:300] if tail else "it printed nothing"
