"""Measures a source on a seed: one usable result for each place, however often anything is interrupted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.judging.observatory import void_reason
from agent.ledger.ledger import Ledger
from agent.ledger.records import RunKind, RunRecord, SeedRecord, Setup
from agent.llm.reading_source import source_edits_code
from agent.session.seeds import SessionSeeds
from agent.session.training import Progress, TrainerRefused, Training
from services.errors import AlreadyExistsError

# Stops and restarts of daemons cost an attempt each; other spoilt runs are given up sooner.
MOST_ATTEMPTS = 12
MOST_SPOILT = 3
# The trainer will not run such a file; another candidate may still do.
REFUSALS = frozenset({"DOES_NOT_FIT", "SANDBOX_UNAVAILABLE", "SOURCE_TOO_LARGE"})
_BUDGETS = {
    "time": pb.BUDGET_KIND_TIME,
    "tokens": pb.BUDGET_KIND_TOKENS,
    "flops": pb.BUDGET_KIND_FLOPS,
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """What a run is for: of a proposal, on which side, which of its pairs."""

    number: int
    kind: RunKind
    position: int


class Measuring:
    """Runs for one session. Every run stands in the ledger before the trainer is asked for it."""

    def __init__(
        self,
        ledger: Ledger,
        session_id: str,
        training: Training,
        seeds: SessionSeeds,
        *,
        template: str,
        unsafe: bool,
        on_progress: Callable[[int, Progress], None],
    ) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._training = training
        self._seeds = seeds
        self._template = template
        self._unsafe = unsafe
        self._on_progress = on_progress

    async def measure(self, place: Place, source_hash: str, seed_index: int) -> RunRecord:
        """The result for this place, made now if there is none yet.

        A candidate's failure is a result. Raises TrainerLost, and TrainerRefused when no attempt gave a
        result that can be judged. A baseline or incumbent that ended the session so is tried anew at the
        next start: what spoilt it may be mended.
        """
        before = 0
        if place.kind is not RunKind.CANDIDATE:
            before = sum(run.ended for run in self._attempts(place))
        while True:
            attempts = self._attempts(place)
            if attempts and attempts[-1].ended and not attempts[-1].void:
                return attempts[-1]
            if attempts and not attempts[-1].ended:
                run = attempts[-1]
            elif _hopeless(attempts[before:]):
                return self._give_up(place, attempts[-1])
            else:
                run = await self._plan(place, len(attempts), source_hash, seed_index)
            await self._attempt(run, place)

    def _attempts(self, place: Place) -> list[RunRecord]:
        return self._ledger.runs.attempts(self._session_id, place.number, place.kind, place.position)

    async def incumbent(self, place: Place, source_hash: str, seed_index: int) -> RunRecord:
        """As `measure`, but a usable run of this source on this seed serves again."""
        seed = await self._seeds.get(seed_index)
        known = self._ledger.runs.measured(self._session_id, source_hash, seed.value)
        return known or await self.measure(place, source_hash, seed_index)

    async def reveal(self, seed_index: int) -> None:
        """Reveals a seed ahead of two runs that both ask for it: each is drawn once."""
        await self._seeds.get(seed_index)

    async def _plan(self, place: Place, attempt: int, source_hash: str, seed_index: int) -> RunRecord:
        seed = await self._seeds.get(seed_index)
        again = f"r{attempt}" if attempt else ""
        run = RunRecord(
            experiment_id=f"{self._session_id}-p{place.number}-{place.kind.value}{place.position}{again}",
            session_id=self._session_id,
            number=place.number,
            kind=place.kind,
            position=place.position,
            attempt=attempt,
            seed=seed.value,
            seed_index=seed_index,
            source_hash=source_hash,
            created_at=self._ledger.now(),
        )
        with self._ledger.transaction():
            self._ledger.runs.put(run)
        return run

    async def _attempt(self, run: RunRecord, place: Place) -> None:
        session = self._ledger.session(self._session_id)
        request = self._request(run, session.setup, await self._seeds.get(run.seed_index), session.tag)
        try:
            experiment = await self._training.run(
                request, lambda progress: self._on_progress(place.number, progress)
            )
        except TrainerRefused as error:
            if place.kind is not RunKind.CANDIDATE or error.reason not in REFUSALS:
                raise
            self._finish(replace(run, ended=True, failure_reason=error.reason, failure_message=error.message))
            return
        except AlreadyExistsError as error:
            # The trainer knows the id from another life of this lab; the next attempt has an id of its own.
            self._finish(replace(run, ended=True, void=error.message))
            return
        done = finished(run, experiment)
        earlier = self._ledger.runs.usable_of_source(self._session_id, run.source_hash)
        done = replace(done, void=void_reason(done, earlier, session.setup))
        log_text = "\n".join(experiment.result.log_tail)
        self._finish(done, log_text)

    def _finish(self, run: RunRecord, log_text: str = "") -> None:
        with self._ledger.transaction():
            digest = self._ledger.put_text("log", log_text) if log_text else ""
            self._ledger.runs.put(replace(run, log_hash=digest))
            if run.void:
                log.warning("a run is void", extra={"experiment": run.experiment_id, "why": run.void})
                self._ledger.say(self._session_id, f"run {run.experiment_id} does not count: {run.void}")

    def _give_up(self, place: Place, last: RunRecord) -> RunRecord:
        if place.kind is RunKind.CANDIDATE:
            reason = last.failure_reason or "VOID"
            return replace(last, void="", val_bpb=None, failure_reason=reason, failure_message=last.void)
        raise TrainerRefused(
            f"the incumbent could not be measured: {last.void} (run {last.experiment_id})",
            reason="TRAINER_UNAVAILABLE",
        )

    def _request(self, run: RunRecord, setup: Setup, seed: SeedRecord, tag: str) -> pb.StartExperimentRequest:
        source = self._ledger.text(run.source_hash)
        return pb.StartExperimentRequest(
            experiment_id=run.experiment_id,
            train_source=source,
            seed=pb.SeedGrant(
                value=seed.value,
                pack_id=seed.pack_id,
                index=seed.pack_index,
                source=seed.source,
                receipt=seed.receipt,
            ),
            budget=pb.Budget(kind=_BUDGETS[setup.budget_kind], amount=setup.budget_amount),
            data_hash=setup.data_hash,
            device_class=setup.device_class,
            preset=setup.preset,
            origin=self._origin(source),
            keep_checkpoint=run.kind is not RunKind.INCUMBENT,
            labels={
                "session": self._session_id,
                "tag": tag,
                "proposal": str(run.number),
                "kind": run.kind.name.lower(),
            },
        )

    def _origin(self, source: str) -> pb.SourceOrigin.ValueType:
        if not source_edits_code(self._template, source):
            return pb.SOURCE_ORIGIN_TEMPLATE
        return pb.SOURCE_ORIGIN_USER if self._unsafe else pb.SOURCE_ORIGIN_MODEL


def finished(run: RunRecord, experiment: pb.Experiment) -> RunRecord:
    """The run with the trainer's result written into it."""
    result = experiment.result
    failure = ""
    if experiment.state == pb.EXPERIMENT_STATE_CANCELLED:
        failure = "CANCELLED"
    elif experiment.state != pb.EXPERIMENT_STATE_SUCCEEDED:
        failure = pb.FailureReason.Name(result.failure_reason).removeprefix("FAILURE_REASON_")
        failure = "INTERNAL" if failure == "UNSPECIFIED" else failure
    if not failure and not math.isfinite(result.val_bpb):
        failure = "NOT_FINITE"
    seconds = result.total_duration.ToMilliseconds() / 1000
    training = result.training_duration.ToMilliseconds() / 1000
    return replace(
        run,
        ended=True,
        val_bpb=result.val_bpb if not failure and result.HasField("val_bpb") else None,
        failure_reason=failure,
        failure_message=result.failure_message,
        memory_bytes=result.peak_memory_bytes,
        seconds=seconds,
        device_class=result.device_class,
        attention=result.attention,
        tokens_per_second=result.tokens / training if training > 0 else 0.0,
    )


def _hopeless(attempts: list[RunRecord]) -> bool:
    spoilt = [run for run in attempts if run.failure_reason not in ("INTERRUPTED", "CANCELLED")]
    return len(spoilt) >= MOST_SPOILT or len(attempts) >= MOST_ATTEMPTS
