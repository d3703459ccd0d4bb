"""Before the first proposal: data ready, and the noise measured by true replicates of the baseline."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.judging.seed_plan import seed_index
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, ProposalState, RunKind, RunRecord, SessionState
from agent.llm.reading_source import readable_block
from agent.session.measuring import Measuring, Place
from agent.session.training import TrainerLost
from agent.verdict import Verdict
from services.errors import FailedPreconditionError, UnavailableError
from services.trainer_client import TrainerClient


class BaselineFailed(FailedPreconditionError):
    """The unchanged train.py does not train here; the message has the trainer's words."""


async def prepare_data(
    ledger: Ledger,
    session_id: str,
    client: TrainerClient,
    *,
    patience: float,
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Has the trainer make the session's dataset ready and binds the session to its hash.

    Raises FailedPreconditionError when the trainer has other data than the session began with, TrainerLost
    when it stays away, and what PrepareData raises (CORPUS_TOO_SMALL, STORE_FULL, …).
    """
    session = ledger.update_session(session_id, state=SessionState.PREPARING_DATA)
    dataset = await _prepare(ledger, session_id, client, session.setup.dataset, patience, sleep)
    known = session.setup.data_hash
    if known and known != dataset.data_hash:
        raise FailedPreconditionError(
            f"the trainer's data ({dataset.data_hash[:12]}) is not what this session began with "
            f"({known[:12]}): scores would not compare; name the folder of the first data "
            "with --data, or begin anew with another --tag",
            reason="DATA_MISMATCH",
        )
    if not known:
        setup = replace(session.setup, data_hash=dataset.data_hash)
        ledger.update_session(session_id, setup=setup)


async def _prepare(
    ledger: Ledger,
    session_id: str,
    client: TrainerClient,
    wanted: Mapping[str, object],
    patience: float,
    sleep: Callable[[float], Awaitable[None]],
) -> pb.Dataset:
    waited, pause, stage = 0.0, 0.2, ""
    while True:
        try:
            events: AsyncIterator[pb.PrepareDataResponse] = client.prepare_data(_request(wanted))
            async for event in events:
                if event.HasField("dataset"):
                    return event.dataset
                if event.stage != stage:
                    stage = event.stage
                    ledger.say(session_id, f"preparing data: {stage}")
            raise UnavailableError("the trainer ended the preparation of data without a result")
        except UnavailableError as error:
            if waited >= patience:
                raise TrainerLost(error.message, reason="TRAINER_UNAVAILABLE") from error
            if not waited:
                ledger.say(session_id, f"waiting up to {patience:.0f} s for the trainer: {error.message}")
            await sleep(pause)
            waited, pause = waited + pause, min(pause * 2, 5.0)


def dataset_fields(dataset: pb.DatasetRequest) -> dict[str, object]:
    """A dataset request as plain fields for the ledger."""
    return {field.name: value for field, value in dataset.ListFields()}


def _what_comes(runs: int, seconds: float) -> str:
    """For a person who watches the first minutes of a session."""
    long = f"{runs * seconds / 60:.0f} minutes" if runs * seconds > 90 else f"{runs * seconds:.0f} seconds"
    return (
        f"{runs} more run{'s' if runs > 1 else ''} of the unchanged train.py measure how much the seed alone "
        f"moves the score, about {long}; then the first change is tried"
    )


def _request(fields: Mapping[str, object]) -> pb.DatasetRequest:
    return pb.DatasetRequest(**fields)  # type: ignore[arg-type]


async def measure_baseline(
    ledger: Ledger,
    session_id: str,
    measuring: Measuring,
    *,
    replicates: int,
    check_limits: Callable[[], None],
) -> ProposalRecord:
    """Proposal 0: the unchanged file on `replicates` seeds. Done once in a tag's lifetime.

    Raises BaselineFailed, TrainerLost, and what `check_limits` raises.
    """
    known = ledger.proposals.find(session_id, 0)
    if known is not None and known.state is ProposalState.RECORDED:
        return known
    session = ledger.update_session(session_id, state=SessionState.MEASURING_NOISE)
    source = ledger.text(session.tip_source_hash)
    if known is not None and known.source_hash != session.tip_source_hash and known.val_bpb is None:
        known = None  # the file that did not run was mended
    baseline = known or ProposalRecord(
        session_id=session_id,
        number=0,
        description="baseline",
        state=ProposalState.RUNNING,
        source_hash=session.tip_source_hash,
        parent_commit=session.tip_commit,
        parent_source_hash=session.tip_source_hash,
        diff_hash="",
        created_at=ledger.now(),
        hyperparameters=readable_block(source),
        commit=session.tip_commit,
    )
    ledger.put_proposal(baseline)
    runs: list[RunRecord] = []
    for position in range(replicates):
        check_limits()
        place = Place(0, RunKind.BASELINE, position)
        try:
            run = await measuring.measure(place, baseline.source_hash, seed_index(0, position))
        except FailedPreconditionError as error:
            raise BaselineFailed(f"the baseline does not run: {error.message}") from error
        runs.append(run)
        if position == 0:
            session = ledger.session(session_id)
            device = session.setup.device_class or run.device_class
            setup = replace(session.setup, device_class=device, attention=run.attention)
            ledger.update_session(session_id, setup=setup)
            if known is None and replicates > 1:
                ledger.say(session_id, _what_comes(replicates - 1, run.seconds))
        score = statistics.fmean(run.val_bpb or 0.0 for run in runs)
        memory = max(run.memory_bytes for run in runs) / 1e9
        baseline = ledger.put_proposal(replace(baseline, val_bpb=score, memory_gb=memory))
    with ledger.transaction():
        baseline = ledger.put_proposal(
            replace(
                baseline,
                state=ProposalState.RECORDED,
                verdict=Verdict.BASELINE,
                reason=f"measured on {len(runs)} seeds",
                judged_at=ledger.now(),
                ended_at=ledger.now(),
            )
        )
    return baseline
