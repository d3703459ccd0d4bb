"""Opens a lab for a session: folder, lock, ledger, branch, and the session's row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.lab.lock import LabLock, unwritable
from agent.lab.results_table import NAME as TABLE_NAME
from agent.lab.workspace import SOURCE_NAME, STATE_NAME, Workspace, make_lab, open_lab
from agent.ledger.ledger import LEDGER_NAME, Ledger
from agent.ledger.records import SessionRecord, SessionState, Setup
from agent.session.baseline import dataset_fields
from agent.session.start_options import StartOptions, with_limits, with_model
from services.errors import FailedPreconditionError, UnavailableError
from services.trainer_client import TrainerClient

_KINDS: Mapping[int, str] = {
    pb.BUDGET_KIND_TIME: "time",
    pb.BUDGET_KIND_TOKENS: "tokens",
    pb.BUDGET_KIND_FLOPS: "flops",
}


@dataclass
class OpenLab:
    """A lab that this daemon knows. The lock is held while a session of it is open."""

    path: Path
    ledger: Ledger
    lock: LabLock | None = None

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def open_ledger(path: Path, lock: LabLock, ledger: Ledger | None, clock: Callable[[], float]) -> OpenLab:
    """Takes the lock, then opens the ledger unless it is open already. Raises FailedPreconditionError."""
    # Also refuses a folder that is not ours before anything is written there.
    workspace = open_lab(path, "lab") if path.exists() else None
    if workspace is not None:
        workspace.close()
    lock.acquire()
    try:
        file = path / STATE_NAME / LEDGER_NAME
        ledger = ledger or Ledger(file, clock=clock, may_be_new=workspace is None or not file.exists())
    except BaseException:
        lock.release()
        raise
    return OpenLab(path, ledger, lock)


async def open_workspace(lab: OpenLab, options: StartOptions, trainer: TrainerClient) -> Workspace:
    """The lab's repository on the session's branch, made from the trainer's template if it is new.

    Raises FailedPreconditionError (LAB_NOT_OURS, LAB_DIRTY, LAB_READ_ONLY), UnavailableError
    (TRAINER_UNAVAILABLE), NotFoundError (UNKNOWN_PRESET).
    """
    try:
        workspace = await asyncio.to_thread(open_lab, lab.path, options.tag)
        if workspace is None:
            template = await fetch_template(trainer, options.preset)
            workspace = await asyncio.to_thread(
                make_lab, lab.path, options.tag, dict(template.files), template.preset
            )
        await asyncio.to_thread(workspace.show_branch)
        await asyncio.to_thread(workspace.refuse_dirty)
        await asyncio.to_thread(workspace.close_all_worktrees)
    except OSError as error:
        raise unwritable(lab.path, error) from error
    return workspace


async def open_record(
    lab: OpenLab, workspace: Workspace, options: StartOptions, trainer: TrainerClient
) -> tuple[SessionRecord, bool]:
    """The session's row in state STARTING; True where it existed before."""
    known = lab.ledger.find_session(options.tag)
    if known is not None:
        return _resume(lab.ledger, workspace, known, options), True
    earlier = lab.ledger.sessions()
    if earlier:
        _refuse_other_preset(earlier[0], options)
    template = await fetch_template(trainer, earlier[0].setup.preset if earlier else options.preset)
    kind, amount = _KINDS.get(template.budget.kind, "tokens"), template.budget.amount
    if options.time_budget is not None:
        kind, amount = "time", options.time_budget
    tip, now = workspace.tip(), lab.ledger.now()
    record = SessionRecord(
        session_id=f"{options.tag}-{lab.ledger.lab_id}",
        tag=options.tag,
        state=SessionState.STARTING,
        provider=options.provider,
        model=options.model,
        setup=Setup(template.preset, kind, amount, dataset=dataset_fields(template.dataset)),
        created_at=now,
        started_at=now,
        tip_commit=tip,
        tip_source_hash=lab.ledger.put_text("source", workspace.source_at(tip)),
    )
    record = with_limits(record, options, 0)
    with lab.ledger.transaction():
        lab.ledger.add_session(record)
        if not earlier:
            _say_what_is_missing(lab, workspace, record)
    return record, False


def _say_what_is_missing(lab: OpenLab, workspace: Workspace, record: SessionRecord) -> None:
    """A ledger that was moved away took the history with it; the table of then is set aside."""
    table = lab.path / TABLE_NAME
    if not table.exists() and record.tip_commit == workspace.template_commit():
        return
    kept = ""
    if table.exists():
        aside = workspace.state / f"{table.stem}-before-{lab.ledger.lab_id}{table.suffix}"
        try:
            table.replace(aside)
        except OSError as error:
            raise unwritable(lab.path, error) from error
        kept = f"; its table is kept as {STATE_NAME}/{aside.name}"
    lab.ledger.say(
        record.session_id,
        f"the ledger is new: what was tried before is not in the history{kept}; the incumbent is commit "
        f"{record.tip_commit[:7]}",
    )


async def fetch_template(trainer: TrainerClient, preset: str) -> pb.GetTemplateResponse:
    """Raises UnavailableError (TRAINER_UNAVAILABLE), NotFoundError (UNKNOWN_PRESET)."""
    try:
        return await trainer.template(preset)
    except UnavailableError as error:
        raise UnavailableError(
            f"the trainer at {trainer.target} does not answer: start trainerd, or name its address with "
            "--trainer",
            reason="TRAINER_UNAVAILABLE",
            retry_after=error.retry_after,
        ) from error


def _resume(
    ledger: Ledger, workspace: Workspace, known: SessionRecord, options: StartOptions
) -> SessionRecord:
    if options.time_budget is not None and known.setup.budget_amount != options.time_budget:
        raise FailedPreconditionError(
            f"time_budget: this session measures with {known.setup.budget_amount:g} "
            f"{known.setup.budget_kind}; scores under another budget do not compare: use another --tag",
            reason="INVALID_ARGUMENTS",
        )
    _refuse_other_preset(known, options)
    done = ledger.totals(known.session_id).proposals
    with ledger.transaction():
        tip_commit, tip_source_hash = _adopt_commits(ledger, workspace, known)
        record = with_limits(known, options, done)
        return ledger.replace_session(
            replace(
                record,
                state=SessionState.STARTING,
                stop_reason=None,
                stop_detail="",
                ended_at=None,
                started_at=ledger.now(),
                provider=options.provider,
                model=with_model(known, options),
                tip_commit=tip_commit,
                tip_source_hash=tip_source_hash,
            )
        )


def _refuse_other_preset(known: SessionRecord, options: StartOptions) -> None:
    """A lab's train.py was written for one preset."""
    if options.preset and options.preset != known.setup.preset:
        raise FailedPreconditionError(
            f"preset: this lab was made with {known.setup.preset!r}, not {options.preset!r}: leave --preset "
            "out, or name a new folder with --lab",
            reason="INVALID_ARGUMENTS",
        )


def _adopt_commits(ledger: Ledger, workspace: Workspace, known: SessionRecord) -> tuple[str, str]:
    """Commit and source of the incumbent. A commit that a person made on the branch becomes it; a keep
    that was cut short is left to the recorder."""
    tip = workspace.tip()
    unfinished = ledger.proposals.unfinished(known.session_id)
    if tip == known.tip_commit or (unfinished is not None and unfinished.is_commit):
        return known.tip_commit, known.tip_source_hash
    source_hash = ledger.put_text("source", workspace.source_at(tip))
    if source_hash != known.tip_source_hash:
        ledger.say(
            known.session_id,
            f"commit {tip[:7]} is not the session's own: its {SOURCE_NAME} is the incumbent from now on",
        )
    return tip, source_hash
