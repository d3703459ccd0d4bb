"""Has the trainer run an experiment, across broken links and restarts, and brings home its result."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from autoresearch.trainer.v1 import trainer_pb2 as pb

from services.errors import (
    AlreadyExistsError,
    CanceledError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from services.trainer_client import TrainerClient

ENDED = frozenset({pb.EXPERIMENT_STATE_SUCCEEDED, pb.EXPERIMENT_STATE_FAILED, pb.EXPERIMENT_STATE_CANCELLED})
_STAGES = {
    pb.EXPERIMENT_STATE_QUEUED: "queued",
    pb.EXPERIMENT_STATE_STARTING: "training",
    pb.EXPERIMENT_STATE_TRAINING: "training",
    pb.EXPERIMENT_STATE_EVALUATING: "evaluating",
}
_TRANSIENT = (UnavailableError, DeadlineExceededError, CanceledError, InternalError)
MOMENT_SECONDS = 2.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far an experiment is: progress 0..1 of its budget, loss in nats per token."""

    experiment_id: str
    stage: str
    progress: float
    loss: float
    tokens_per_second: float


class TrainerLost(UnavailableError):
    """The trainer could not be reached for longer than the session is willing to wait."""


class TrainerRefused(FailedPreconditionError):
    """The trainer will not run this experiment; `reason` is the trainer's own."""


class Training:
    """One trainer. `patience` is how long in seconds it may be away before TrainerLost is raised; `warn` is
    told once for each time that it is away for longer than a moment."""

    def __init__(
        self,
        client: TrainerClient,
        *,
        patience: float = 300.0,
        warn: Callable[[str], None] = log.warning,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._patience = patience
        self._warn = warn
        self._sleep = sleep
        self._monotonic = monotonic

    async def run(
        self, request: pb.StartExperimentRequest, on_progress: Callable[[Progress], None]
    ) -> pb.Experiment:
        """Starts (or finds) the experiment and returns it once it has ended, whatever its result.

        Cancelling the caller cancels the experiment too, as far as the trainer can be told. Raises
        TrainerLost, TrainerRefused, AlreadyExistsError (EXPERIMENT_CONFLICT).
        """
        try:
            return await self._run(request, on_progress)
        except asyncio.CancelledError:
            await self._cancel_quietly(request.experiment_id)
            raise

    async def _run(
        self, request: pb.StartExperimentRequest, on_progress: Callable[[Progress], None]
    ) -> pb.Experiment:
        lost_since: float | None = None
        told = False
        pause, after = 0.1, 0
        while True:
            try:
                experiment = await self.client.start(request)
                lost_since, pause = None, 0.1
                if experiment.state in ENDED:
                    return experiment
                async for event in self.client.watch(request.experiment_id, after_sequence=after):
                    after = max(after, event.sequence)
                    _report(request.experiment_id, event, on_progress)
                    if event.WhichOneof("event") == "state" and event.state.state in ENDED:
                        return event.state
                experiment = await self.client.get(request.experiment_id)
                if experiment.state in ENDED:
                    return experiment
                raise UnavailableError("the trainer's stream ended before the experiment did")
            except AlreadyExistsError:
                raise
            except (FailedPreconditionError, InvalidArgumentError) as error:
                raise TrainerRefused(error.message, reason=error.reason, metadata=error.metadata) from error
            except (NotFoundError, ResourceExhaustedError, *_TRANSIENT) as error:
                # Not found: the trainer lost its journal; starting again is all that can be done.
                after = 0 if isinstance(error, NotFoundError) else after
                if lost_since is None:
                    lost_since, told = self._monotonic(), False
                away = self._monotonic() - lost_since
                if away >= self._patience:
                    raise TrainerLost(
                        f"the trainer at {self.client.target} did not answer for {self._patience:.0f} s: "
                        f"{error.message}",
                        reason="TRAINER_UNAVAILABLE",
                    ) from error
                if away >= MOMENT_SECONDS and not told:
                    told = True
                    self._warn(f"waiting up to {self._patience:.0f} s for the trainer: {error.message}")
                await self._sleep(min(error.retry_after or pause, 5.0))
                pause = min(pause * 2, 2.0)

    async def _cancel_quietly(self, experiment_id: str) -> None:
        try:
            await asyncio.wait_for(self.client.cancel(experiment_id, "the session was stopped"), 3.0)
        except (ServiceError, TimeoutError) as error:
            log.warning("the trainer was not told to cancel", extra={"why": str(error)})


def _report(
    experiment_id: str, event: pb.WatchExperimentResponse, on_progress: Callable[[Progress], None]
) -> None:
    kind = event.WhichOneof("event")
    if kind == "metric":
        values = event.metric.values
        on_progress(
            Progress(
                experiment_id,
                "training",
                values.get("progress", 0.0),
                values.get("loss", 0.0),
                values.get("tokens_per_second", 0.0),
            )
        )
    elif kind == "state" and event.state.state in _STAGES:
        stage = _STAGES[event.state.state]
        on_progress(Progress(experiment_id, stage, event.state.progress, 0.0, 0.0))
