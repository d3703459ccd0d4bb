"""A session over real daemons while something kills them, again and again, and starts them again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.lab.results_table import read_results
from agent.lab.workspace import TRAILER
from agent.ledger.ledger import LEDGER_NAME, Ledger
from agent.ledger.records import ProposalState, RunKind
from agent.verdict import Verdict
from services.agent_client import AgentClient
from services.errors import ServiceError
from services.memory_client import MemoryClient
from services.trainer_client import TrainerClient
from tests.agent.conftest import MUCH_BETTER, MUCH_WORSE
from tests.agent.daemons import Child, agentd, entropyd, memoryd, trainerd

T = TypeVar("T")


def drafts(count: int) -> list[dict[str, Any]]:
    """Better ones, worse ones, ones that crash, and faults of the proposer."""
    made: list[dict[str, Any]] = []
    changes: dict[str, Any]
    for number in range(count):
        match number % 6:
            case 0:
                changes = dict(list(MUCH_BETTER.items())[: 1 + number // 6])
                changes |= {"WARMDOWN_RATIO": round(0.6 + number / 4000, 4)}
            case 1:
                changes = MUCH_WORSE | {"WEIGHT_DECAY": round(0.05 + number / 100, 3)}
            case 2:
                code = f'FAIL = "NOT_FINITE"\nMARK = {number}\n'
                made.append({"description": f"crash {number}", "section": "training loop", "code": code})
                continue
            case 3:
                made.append({"fault": "garbage"})
                continue
            case _:
                changes = {"EMBEDDING_LR": round(0.3 * 1.05**number, 5), "SCALAR_LR": 0.1 + number / 10}
        made.append({"description": f"draft {number}", "changes": changes})
    return made


class Chaos:
    """Kills one daemon after another until the session has stopped.

    No luck decides who dies: the first round kills each daemon once, in a seeded order, and the session may
    make its last proposal only after that round. Later rounds are shuffled, the agent and the trainer twice.
    """

    def __init__(self, folder: Path, lab: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.lab = lab
        self.folder = folder
        self.kills: dict[str, int] = {}
        self.children: dict[str, Child] = {}
        self._first_round = asyncio.Event()
        self._enough = asyncio.Event()
        self._slowness = 1.0

    async def start(self) -> None:
        folder = self.folder
        self.children = {
            "trainer": trainerd(folder, seconds=0.1),
            "entropy": entropyd(folder),
            "memory": memoryd(folder),
        }
        await asyncio.gather(*(child.start() for child in self.children.values()))
        agent = agentd(
            folder,
            self.children["trainer"].grpc,
            memory=self.children["memory"].grpc,
            entropy=self.children["entropy"].grpc,
            flags=("--replicates", "3", "--trainer-patience", "120"),
        )
        self.children["agent"] = await agent.start()

    async def close(self) -> None:
        await asyncio.gather(*(child.kill() for child in self.children.values() if child.process))

    async def run(self, count: int, *, most_seconds: float, between: tuple[float, float]) -> pb.Session:
        """The session at its end; raises TimeoutError when it does not get there."""
        script = self.folder / "script.json"
        script.write_text(json.dumps(drafts(count)))
        killer = asyncio.create_task(self._kill_until_enough(between))
        try:
            async with asyncio.timeout(most_seconds), AgentClient(self.children["agent"].grpc) as client:
                await first_of(self._follow(client, self._request(script, count - 1)), killer)
                await first_of(self._first_round.wait(), killer)
                return await first_of(self._follow(client, self._request(script, count)), killer)
        finally:
            self._enough.set()
            await killer

    def _request(self, script: Path, count: int) -> pb.StartSessionRequest:
        return pb.StartSessionRequest(
            lab=str(self.lab), provider="scripted", script=str(script), max_experiments=count
        )

    async def _follow(self, client: AgentClient, request: pb.StartSessionRequest) -> pb.Session:
        while True:
            try:
                session = (await client.start_session(request)).session
                async for event in client.watch_session(
                    session.session_id, after_sequence=session.last_sequence
                ):
                    if event.session.state == pb.SESSION_STATE_STOPPED:
                        if event.session.stop_reason == pb.STOP_REASON_EXPERIMENT_LIMIT:
                            return event.session
                        break
            except ServiceError:
                pass
            await asyncio.sleep(0.2)

    async def _kill_until_enough(self, between: tuple[float, float]) -> None:
        """Every daemon serves when this returns: what it kills it starts again before it looks at the end."""
        names = sorted(self.children)
        while True:
            self.random.shuffle(names)
            for name in names:
                with contextlib.suppress(TimeoutError):
                    life = self.random.uniform(*between) * self._slowness
                    await asyncio.wait_for(self._enough.wait(), life)
                    return
                self.kills[name] = self.kills.get(name, 0) + 1
                await self.children[name].kill()
                await asyncio.sleep(self.random.uniform(0.0, 0.3))
                await self._revive(self.children[name])
            self._first_round.set()
            names = ["agent", "agent", "trainer", "trainer", "memory", "entropy"]

    async def _revive(self, child: Child) -> None:
        """Starts it at its old address, which a stranger's connection may hold for a moment.

        On a machine where that takes long all lives are longer: else nothing would ever get done in them.
        """
        begun = time.monotonic()
        for _ in range(4):
            try:
                await child.start()
            except AssertionError:
                await asyncio.sleep(1.0)
            else:
                self._slowness = max(1.0, time.monotonic() - begun)
                return
        await child.start()


async def first_of(work: Coroutine[Any, Any, T], killer: asyncio.Task[None]) -> T:
    """The result of `work`; raises what ended the killer, should that come first."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task, killer], return_when=asyncio.FIRST_COMPLETED)
        if killer.done():
            killer.result()
        return await task
    finally:
        task.cancel()


async def check_exactly_once(chaos: Chaos, count: int) -> Ledger:
    """Ledger, trainer, git, exports and memory all tell the same story, each part of it once."""
    lab = chaos.lab
    ledger = Ledger(lab / ".autoresearch" / LEDGER_NAME, clock=lambda: 0.0, read_only=True)
    session = ledger.sessions()[0]
    proposals = ledger.proposals.all(session.session_id)
    assert [item.number for item in proposals] == list(range(count + 1))
    assert {item.state for item in proposals} == {ProposalState.RECORDED}
    runs = ledger.runs.all(session.session_id)
    usable = [(run.number, run.kind, run.position) for run in runs if run.ended and not run.void]
    assert len(usable) == len(set(usable))
    assert all(run.ended for run in runs)
    for item in proposals[1:]:
        measured = [run for run in runs if run.number == item.number and run.kind is RunKind.CANDIDATE]
        scores = [run for run in measured if not run.void and run.val_bpb is not None]
        assert len(scores) == len(item.differences) or item.val_bpb is None
    async with TrainerClient(chaos.children["trainer"].grpc) as trainer:
        known: set[str] = set()
        token = ""
        while True:
            page = await trainer.list_experiments(page_size=500, page_token=token)
            known |= {experiment.experiment_id for experiment in page.experiments}
            token = page.next_page_token
            if not token:
                break
    assert known == {run.experiment_id for run in runs}
    kept = [item for item in proposals if item.is_commit]
    log = git(lab, "log", "--reverse", "--format=%H", session_branch(session.tag)).splitlines()
    assert log[1:] == [item.commit for item in kept]
    trailers = git(lab, "log", "--reverse", f"--format=%(trailers:key={TRAILER},valueonly,separator=%x2C)")
    assert trailers.split() == [item.proposal_id for item in kept]
    assert git(lab, "status", "--porcelain") == ""
    assert git(lab, "branch", "--show-current") == session_branch(session.tag)
    assert (lab / "train.py").read_text() == ledger.text(session.tip_source_hash)
    assert len(git(lab, "worktree", "list").splitlines()) == 1
    rows = read_results((lab / "results.tsv").read_text())
    assert len(rows) == count + 1
    async with MemoryClient(chaos.children["memory"].grpc) as memory:
        await deliver(memory, ledger, session.session_id)
        found = await all_memories(memory, session.session_id)
    numbers = sorted(int(item) for item in found)
    learnt = [item.number for item in proposals[1:] if item.verdict is not Verdict.REFUSED]
    assert numbers == learnt
    return ledger


async def deliver(memory: MemoryClient, ledger: Ledger, session_id: str) -> None:
    """What still waits in the outbox, as the next start of the session would send it."""
    for waiting in ledger.memories.waiting(session_id, 1000):
        await memory.remember(waiting.text, tags=waiting.tags, idempotency_key=waiting.key)


async def all_memories(memory: MemoryClient, session_id: str) -> list[str]:
    numbers: list[str] = []
    token = ""
    while True:
        page = await memory.list_memories(page_size=500, page_token=token, tags={"session": session_id})
        numbers += [item.tags["number"] for item in page.memories]
        token = page.next_page_token
        if not token:
            return numbers


def session_branch(tag: str) -> str:
    return f"autoresearch/{tag}"


def git(lab: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(lab), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@contextlib.asynccontextmanager
async def chaos_in(folder: Path, seed: int) -> Any:
    """Started daemons around a lab that does not exist yet."""
    folder.mkdir(parents=True, exist_ok=True)
    chaos = Chaos(folder, folder / "lab", seed)
    try:
        await chaos.start()
        yield chaos
    finally:
        await chaos.close()
