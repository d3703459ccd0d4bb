"""One session: the lab folder opened and locked, the loop as a task, a stop by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from agent.judging.judge import JudgePolicy
from agent.lab.champion import Champion
from agent.lab.memory import LabMemory
from agent.lab.workspace import Workspace
from agent.ledger.ledger import Ledger
from agent.ledger.records import SessionRecord, SessionState, StopReason
from agent.llm.prices import PriceList, read_prices
from agent.proposers import ProposerChoice, ProposerParts, open_proposer
from agent.session.baseline import BaselineFailed, measure_baseline, prepare_data
from agent.session.drafting import Drafting
from agent.session.limits import LimitReached, check_money
from agent.session.measuring import Measuring
from agent.session.pairing import Pairing
from agent.session.recording import Recorder
from agent.session.research import Research
from agent.session.seeds import SessionSeeds
from agent.session.training import Progress, TrainerLost, TrainerRefused, Training
from agent.session.trial import Trials
from agent.settings import ProviderKeys
from services.entropy_client import EntropyClient
from services.errors import ServiceError, UnavailableError
from services.memory_client import MemoryClient
from services.trainer_client import TrainerClient

LAB_REASONS = frozenset(
    {"LAB_DIRTY", "LAB_MOVED", "LAB_FAILED", "LAB_READ_ONLY", "STORE_FULL", "LEDGER_CORRUPT"}
)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Peers:
    """The other daemons, and how a session deals with them. Seconds for both limits."""

    trainer: TrainerClient
    memory: MemoryClient | None
    entropy: EntropyClient | None
    trainer_patience: float = 300.0
    proposal_limit: float = 900.0
    replicates: int = 5
    prices: PriceList = field(default_factory=read_prices)
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)


class Session:
    """A tag's session in one lab, from `start` to its stop. The ledger outlives it."""

    def __init__(
        self,
        lab: Path,
        session_id: str,
        ledger: Ledger,
        workspace: Workspace,
        peers: Peers,
        keys: ProviderKeys,
        choice: ProposerChoice,
        *,
        template: str,
        unsafe: bool = False,
    ) -> None:
        self.lab = lab
        self.session_id = session_id
        self.ledger = ledger
        self.workspace = workspace
        self.progress: Progress | None = None
        self.progress_number = 0
        self._progress_changed = asyncio.Event()
        self._peers = peers
        self._task: asyncio.Task[None] | None = None
        self.by_hand = False
        self.unwritten_end: tuple[StopReason, str] | None = None
        say = self._say
        self.seeds = SessionSeeds(ledger, session_id, peers.entropy, warn=say, sleep=peers.sleep)
        self.training = Training(peers.trainer, patience=peers.trainer_patience, warn=say, sleep=peers.sleep)
        self.measuring = Measuring(
            ledger,
            session_id,
            self.training,
            self.seeds,
            template=template,
            unsafe=unsafe,
            on_progress=self._on_progress,
        )
        self.memory = LabMemory(ledger, session_id, peers.memory, warn=say)
        self.drafting = Drafting(ledger, session_id)
        pairing = Pairing(ledger, session_id, self.measuring, peers.trainer)
        self.trials = Trials(ledger, session_id, pairing, JudgePolicy(), check_limits=self._check_limits)
        champion = Champion(ledger, session_id, lab, peers.trainer)
        self.recorder = Recorder(ledger, session_id, workspace, self.memory, champion)
        parts = ProposerParts(
            ledger,
            session_id,
            lab,
            self.drafting,
            self.memory,
            keys,
            peers.prices,
            self._check_money,
            peers.sleep,
        )
        self.proposer = open_proposer(choice, parts)
        self.research = Research(
            session_id,
            ledger,
            workspace,
            self.drafting,
            self.trials,
            self.recorder,
            self.memory,
            self.proposer,
            peers.proposal_limit,
        )

    @property
    def record(self) -> SessionRecord:
        return self.ledger.session(self.session_id)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self, when_ended: Callable[[], None]) -> None:
        """Begins the loop; it ends by itself, or by `stop`. Then `when_ended` is called.

        Where a full disk keeps the end from being written, `unwritten_end` holds it.
        """
        self._task = asyncio.create_task(self._run(), name=f"session {self.session_id}")
        self._task.add_done_callback(lambda _: when_ended())

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Runs one experiment by hand; `wait` tells when it has ended, `stop` ends it."""
        self.by_hand = True
        self._task = asyncio.create_task(work, name=f"by hand {self.session_id}")

    async def wait(self, seconds: float) -> bool:
        """Whether the task has ended, after at most so long. Raises what ended it."""
        if self._task is None:
            return True
        await asyncio.wait([self._task], timeout=seconds)
        if not self._task.done():
            return False
        if not self._task.cancelled():
            self._task.result()
        return True

    async def stop(self, reason: StopReason = StopReason.REQUESTED, detail: str = "") -> None:
        """Returns when nothing of the loop runs any more; what is unfinished resumes at the next start."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.record.state is not SessionState.STOPPED:
            await self._finish(0.5)
            self._stopped(reason, detail)

    async def _run(self) -> None:
        try:
            await self.prepare()
            reason, detail = await self.research.run()
        except asyncio.CancelledError:
            raise  # `stop` writes it down
        except Exception as error:
            reason, detail = name_stop(error)
            if reason is StopReason.INTERNAL:
                log.exception("the session failed")
        await self._finish(10.0)
        self._stopped(reason, detail)

    async def prepare(self) -> None:
        """Everything before the first proposal; on a resumed session it finds all of it done."""
        self.research.count_time()
        await self.proposer.check()
        seed = await self.seeds.get(0)
        self.ledger.update_session(self.session_id, entropy_source=seed.source)
        await prepare_data(
            self.ledger,
            self.session_id,
            self._peers.trainer,
            patience=self._peers.trainer_patience,
            sleep=self._peers.sleep,
        )
        known = self.ledger.proposals.find(self.session_id, 0)
        await measure_baseline(
            self.ledger,
            self.session_id,
            self.measuring,
            replicates=self._peers.replicates,
            check_limits=self._check_limits,
        )
        self.ledger.update_session(self.session_id, noise_sigma=self.trials.noise().sigma)
        self.recorder.export()
        if known is None or not (self.lab / "best").exists():
            self.recorder.refresh_best()
        await self.memory.deliver()

    async def _finish(self, seconds: float) -> None:
        for close in (self.proposer.close, lambda: self.recorder.finish(seconds)):
            try:
                await close()
            except Exception:
                log.exception("closing a session's parts failed")

    def _stopped(self, reason: StopReason, detail: str) -> None:
        try:
            self.research.count_time()
            self.ledger.update_session(
                self.session_id,
                state=SessionState.STOPPED,
                stop_reason=reason,
                stop_detail=detail,
                ended_at=self.ledger.now(),
            )
        except ServiceError:
            # The disk is gone or full: the ledger says what it said before, and that is enough to resume.
            log.exception("the end of the session could not be written")
            self.unwritten_end = (reason, detail)
            self.ledger.tell_watchers()

    def _check_limits(self) -> None:
        self.research.check_limits()

    def _check_money(self) -> None:
        check_money(self.record, self.ledger.totals(self.session_id))

    def _say(self, message: str) -> None:
        log.warning(message, extra={"session": self.session_id})
        self.ledger.say(self.session_id, message)

    def _on_progress(self, number: int, progress: Progress) -> None:
        self.progress, self.progress_number = progress, number
        self.ledger.tell_watchers()


def name_stop(error: BaseException) -> tuple[StopReason, str]:
    """The reason and the line under which an error ends a session."""
    if isinstance(error, LimitReached):
        return error.reason, error.detail
    if isinstance(error, BaselineFailed):
        return StopReason.BASELINE_FAILED, error.message
    if isinstance(error, TrainerLost | TrainerRefused):
        return StopReason.TRAINER_FAILED, error.message
    if isinstance(error, ServiceError) and error.reason in LAB_REASONS:
        return StopReason.LAB_FAILED, error.message
    if isinstance(error, UnavailableError):
        return StopReason.PROVIDER_FAILED, error.message
    if isinstance(error, ServiceError):
        return StopReason.TRAINER_FAILED, error.message
    return StopReason.INTERNAL, "an unexpected error; the agent's log has it"
