"""The sessions of this daemon: starting, resuming, finding, stopping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.lab.lock import LabLock
from agent.lab.workspace import STATE_NAME, check_tag
from agent.ledger.records import SessionState, StopReason
from agent.proposers import ProposerChoice, choose
from agent.session.opening import OpenLab, open_ledger, open_record, open_workspace
from agent.session.session import Peers, Session
from agent.session.start_options import StartOptions, check_numbers
from agent.settings import ProviderKeys
from services.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError


class Sessions:
    """Starts and finds sessions; one at a time in each lab. `address` is this daemon's, for the lock."""

    def __init__(
        self,
        peers: Peers,
        keys: ProviderKeys,
        *,
        address: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._peers = peers
        self._keys = keys
        self._address = address
        self._clock = clock
        self._labs: dict[Path, OpenLab] = {}
        self._sessions: dict[str, Session] = {}
        self._starting = asyncio.Lock()
        self._stopping: set[str] = set()

    async def start(self, options: StartOptions) -> tuple[Session, bool]:
        """Starts or resumes; True where the session existed before. A running one is returned as it is.

        Raises InvalidArgumentError (INVALID_TAG, UNKNOWN_PROVIDER), FailedPreconditionError (LAB_NOT_OURS,
        LAB_LOCKED, LAB_READ_ONLY, LAB_DIRTY, NO_KEY), UnavailableError (TRAINER_UNAVAILABLE).
        """
        options = replace(options, tag=check_tag(options.tag))
        check_numbers(options)
        if not options.lab.is_absolute():
            raise InvalidArgumentError(
                f"lab: {str(options.lab)!r} must be an absolute path on this daemon's host", field="lab"
            )
        asked = options.provider
        provider, hybrid, note = "manual", False, ""
        if not options.manual:
            provider, hybrid, note = choose(asked, self._keys, options.max_cost_usd, options.base_url)
        options = replace(options, provider="hybrid" if hybrid else provider)
        async with self._starting:
            running = await self._make_way(options)
            if running is not None:
                return running, True
            lab = self._open(options.lab)
            try:
                session, resumed = await self._begin(lab, options, provider)
                if note:
                    session.ledger.say(session.session_id, note)
                if options.manual:
                    session.by_hand = True
                    session.ledger.update_session(session.session_id, state=SessionState.MANUAL)
            except BaseException:
                lab.release()
                raise
            self._sessions[session.session_id] = session
            if not options.manual:
                session.start(lambda: self._ended(session, lab))
            return session, resumed

    def find(self, session_id: str) -> Session:
        """Raises NotFoundError (SESSION_NOT_FOUND)."""
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFoundError(
                f"session {session_id!r} is not known here: start it with its lab",
                reason="SESSION_NOT_FOUND",
                metadata={"session_id": session_id},
            )
        return session

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    async def stop(self, session_id: str) -> Session:
        """Returns when nothing of the session runs any more. Raises NotFoundError."""
        session = self.find(session_id)
        await self._stop(session)
        return session

    def is_over(self, session: Session) -> bool:
        """Whether nothing of a session runs until its next start, also where a full disk kept it from
        writing that down."""
        if session.running or session.session_id in self._stopping:
            return False
        return not session.by_hand or session.record.state is SessionState.STOPPED

    async def close(self) -> None:
        """Stops every session and frees the labs; watchers still learn how it ended."""
        await asyncio.gather(*(self._stop(session, "agentd ended") for session in self.all()))
        for lab in self._labs.values():
            lab.release()

    def close_ledgers(self) -> None:
        """At the very end, when nobody asks any more."""
        for lab in self._labs.values():
            lab.ledger.close()

    async def _stop(self, session: Session, detail: str = "") -> None:
        self._stopping.add(session.session_id)
        try:
            await session.stop(detail=detail)
        finally:
            self._stopping.discard(session.session_id)
            if session.lab in self._labs and self._running_in(session.lab) is None:
                self._labs[session.lab].release()

    async def _make_way(self, options: StartOptions) -> Session | None:
        """The running session that was asked for. An idle one by hand gives way to a loop; others do not."""
        running = self._running_in(options.lab)
        if running is None:
            return None
        if running.record.tag != options.tag:
            raise FailedPreconditionError(
                f"the lab {options.lab} is busy with tag {running.record.tag!r}: stop that session first",
                reason="LAB_LOCKED",
            )
        if options.manual or not running.by_hand:
            return running
        if running.running:
            raise FailedPreconditionError(
                "an experiment by hand is running: wait for it or stop the session first",
                reason="SESSION_RUNNING",
            )
        await self.stop(running.session_id)
        return None

    def _running_in(self, path: Path) -> Session | None:
        for session in self._sessions.values():
            if session.lab == path and not self.is_over(session):
                return session
        return None

    def _open(self, path: Path) -> OpenLab:
        lock = LabLock(path / STATE_NAME, {"grpc": self._address()})
        known = self._labs.get(path)
        if known is not None and not known.ledger.present:
            known = None  # somebody removed the lab's folder
        ledger = known.ledger if known is not None else None
        self._labs[path] = lab = open_ledger(path, lock, ledger, self._clock)
        return lab

    async def _begin(self, lab: OpenLab, options: StartOptions, provider: str) -> tuple[Session, bool]:
        workspace = await open_workspace(lab, options, self._peers.trainer)
        record, resumed = await open_record(lab, workspace, options, self._peers.trainer)
        choice = ProposerChoice(
            provider,
            record.model,
            options.base_url,
            options.script,
            record.max_cost_usd,
            hybrid=options.provider == "hybrid",
        )
        try:
            session = Session(
                lab.path,
                record.session_id,
                lab.ledger,
                workspace,
                self._peers,
                self._keys,
                choice,
                template=workspace.source_at(workspace.template_commit()),
                unsafe=options.unsafe,
            )
        except Exception as error:
            lab.ledger.update_session(
                record.session_id,
                state=SessionState.STOPPED,
                stop_reason=StopReason.PROVIDER_FAILED,
                stop_detail=str(error),
            )
            raise
        return session, resumed

    def _ended(self, session: Session, lab: OpenLab) -> None:
        if session.session_id in self._stopping:
            return  # its end is still to be written, under the lock; who stops it frees the lab
        if self._sessions.get(session.session_id) is session and self._labs.get(lab.path) is lab:
            lab.release()
