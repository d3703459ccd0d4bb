"""A scripted trainer for all tests of a module, and sessions in this process that talk to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.session.session import Peers, Session
from agent.session.sessions import Sessions
from agent.session.start_options import StartOptions
from agent.settings import ProviderKeys
from agent.tools.by_hand import call_by_hand
from services.trainer_client import TrainerClient
from tests.agent.daemons import Child, start_blocking, trainerd


@pytest.fixture(scope="session")
def shared_trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one scripted trainer for all tests that leave it alive."""
    child = trainerd(tmp_path_factory.mktemp("trainer"))
    with start_blocking(child) as grpc:
        yield grpc


@pytest.fixture
async def trainer(tmp_path: Path) -> AsyncIterator[Child]:
    """A trainer of one's own, to be killed."""
    child = await trainerd(tmp_path / "daemons").start()
    yield child
    await child.kill()


@pytest.fixture
async def sessions(shared_trainer: str) -> AsyncIterator[Sessions]:
    async with TrainerClient(shared_trainer) as client:
        peers = Peers(client, None, None, trainer_patience=20.0, replicates=3)
        opened = Sessions(peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
        yield opened
        await opened.close()


@pytest.fixture
async def by_hand(sessions: Sessions, lab: Path) -> Session:
    """A session without a loop, for `call`."""
    session, _ = await sessions.start(StartOptions(lab=lab, manual=True))
    return session


async def call(session: Session, name: str, **arguments: object) -> tuple[dict[str, object], bool]:
    """A tool's answer, and whether it was refused."""
    answer = await call_by_hand(session, name, json.dumps(arguments))
    return json.loads(answer.text), answer.failed


@pytest.fixture
async def own_sessions(trainer: Child) -> AsyncIterator[Sessions]:
    async with TrainerClient(trainer.grpc) as client:
        peers = Peers(client, None, None, trainer_patience=1.0, replicates=3)
        opened = Sessions(peers, ProviderKeys(), address=lambda: "127.0.0.1:1")
        yield opened
        await opened.close()


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[..., str]:
    """Writes a script for the scripted proposer; returns its path."""

    def write(*drafts: dict[str, Any]) -> str:
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(json.dumps(draft) for draft in drafts) + "\n")
        return str(path)

    return write


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return tmp_path / "lab"


# In the scripted trainer's landscape this is about 0.05 bits per byte better, ten sigmas of its noise.
MUCH_BETTER = {
    "MATRIX_LR": 0.025,
    "EMBEDDING_LR": 0.45,
    "UNEMBEDDING_LR": 0.008,
    "TOTAL_BATCH_SIZE": "2**12",
    "DEPTH": 5,
}
MUCH_WORSE = {"MATRIX_LR": 0.0005}


def scripted(lab: Path, script: str, **options: Any) -> StartOptions:
    return StartOptions(lab=lab, provider="scripted", script=script, **options)


async def run_to_end(sessions: Sessions, options: StartOptions) -> Session:
    session, _ = await sessions.start(options)
    await ended(session)
    return session


async def ended(session: Session) -> None:
    """Waits until the session's own loop has ended."""
    assert session._task is not None
    await asyncio.wait_for(asyncio.gather(session._task, return_exceptions=True), 60)
