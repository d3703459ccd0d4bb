"""Finds the agentd of a lab: one that runs already, or one that is started here with its peers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import psutil
from autoresearch.agent.v1 import agent_pb2 as pb

from agent.cli.same_command import command
from agent.lab.lock import unwritable
from agent.launch.addresses import LaunchLock, read_addresses
from agent.launch.launcher import start_daemon
from agent.launch.plan import LaunchOptions, plan_peers
from agent.launch.stack import STOP_SECONDS, Stack
from services.agent_client import AgentClient
from services.errors import (
    ConfigurationError,
    DeadlineExceededError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)
from services.security import ClientSecurity
from services.trainer_client import TrainerClient

ATTACH_SECONDS = 60.0
REMOTE_SECONDS = 5.0


@dataclass(frozen=True)
class AgentLink:
    """A client of agentd. `stack` is set when its daemons belong to this process."""

    client: AgentClient
    address: str
    stack: Stack | None


@asynccontextmanager
async def open_lab(options: LaunchOptions, *, note: Callable[[str], None]) -> AsyncIterator[AgentLink]:
    """Attaches to the daemons that the lab's lock and address file name, or starts them for the time inside.

    Raises FailedPreconditionError for a folder that is not ours or cannot be written, ConfigurationError for
    flags that cannot be met, UnavailableError for daemons that do not start.
    """
    try:
        refuse_foreign_folder(options.lab)
        options.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(options.lab, error) from error
    with LaunchLock(options.state / "launch.lock") as lock:
        if lock.try_acquire():
            await _wait_for_orphans(options.state / "addresses.json")
            async with Stack(options, note=note) as stack:
                address = stack.addresses["agentd"].grpc
                async with AgentClient(address) as client:
                    yield AgentLink(client, address, stack)
            return
        if options.trainer or options.memory or options.entropy:
            raise ConfigurationError(
                f"the daemons of {options.lab} run already (started by process {lock.owner()}): "
                "--trainer, --memory and --entropy cannot change them; stop that process first"
            )
        address = await find_running_agent(options.state, wait_seconds=ATTACH_SECONDS)
    note(f"the lab's daemons run already (started by process {lock.owner()}); attached to {address}")
    async with AgentClient(address) as client:
        yield AgentLink(client, address, None)


@asynccontextmanager
async def open_remote(address: str, security: ClientSecurity | None) -> AsyncIterator[AgentLink]:
    """A client of an agentd that somebody else runs. Raises UnavailableError when it does not answer."""
    async with AgentClient(address, security=security) as client:
        try:
            await client.list_sessions(wait_for_ready=True, timeout=REMOTE_SECONDS)
        except (DeadlineExceededError, UnavailableError) as error:
            raise UnavailableError(
                f"--agent: no agentd answers at {address} within {REMOTE_SECONDS:g} s: check the address, "
                "the firewall, and --ca where it serves TLS",
                reason="AGENT_UNREACHABLE",
            ) from error
        except UnauthenticatedError as error:
            raise UnauthenticatedError(
                f"--agent: {address} answers: {error.message}; here --token-file FILE names it",
                reason=error.reason,
            ) from error
        yield AgentLink(client, address, None)


@asynccontextmanager
async def open_agent(
    address: str, security: ClientSecurity | None, options: LaunchOptions, *, note: Callable[[str], None]
) -> AsyncIterator[AgentLink]:
    """`open_remote` where an address is given, else `open_lab`."""
    opened = open_remote(address, security) if address else open_lab(options, note=note)
    async with opened as link:
        yield link


@asynccontextmanager
async def open_running_agent(
    address: str, security: ClientSecurity | None, lab: Path
) -> AsyncIterator[AgentClient]:
    """A client of the agentd at `address`, else of the lab's; nothing is started. Raises UnavailableError."""
    if not address:
        address = await find_running_agent(lab / ".autoresearch", wait_seconds=0.0)
        security = None
    async with AgentClient(address, security=security) as client:
        yield client


@asynccontextmanager
async def open_trainer(lab: Path, data: Path, address: str) -> AsyncIterator[TrainerClient]:
    """A client of the trainerd at `address`, else of the lab's, which is started if it does not run."""
    state = lab / ".autoresearch"
    if address:
        async with TrainerClient(address) as client:
            yield client
        return
    with LaunchLock(state / "launch.lock") as lock:
        entry = read_addresses(state / "addresses.json").get("trainerd")
        if not lock.try_acquire():
            if entry is None:
                raise UnavailableError(f"process {lock.owner()} works in {lab} without a trainerd of its own")
            async with TrainerClient(entry.grpc) as client:
                yield client
            return
        plans = plan_peers(LaunchOptions(lab, data))
        plan = next(plan for plan in plans if plan.name == "trainerd")
        (state / "logs").mkdir(parents=True, exist_ok=True)
        daemon = await start_daemon(plan, state / "logs")
        try:
            async with TrainerClient(daemon.grpc) as client:
                yield client
        finally:
            await daemon.stop(STOP_SECONDS)


async def find_running_agent(state: Path, *, wait_seconds: float) -> str:
    """The gRPC address of the lab's agentd. Raises UnavailableError when none answers in time."""
    deadline = time.monotonic() + wait_seconds
    while True:
        entry = read_addresses(state / "addresses.json").get("agentd")
        if entry is not None and await answers(entry.grpc):
            return entry.grpc
        if time.monotonic() >= deadline:
            raise UnavailableError(
                f"no agentd of the lab {state.parent} answers: nothing runs there "
                f"(`{command('run', state.parent)}` starts it), or it runs on another host, which "
                "--agent HOST:PORT names",
                reason="AGENT_NOT_RUNNING",
            )
        await asyncio.sleep(0.2)


async def answers(address: str) -> bool:
    """Whether an agentd answers there within two seconds."""
    async with AgentClient(address) as client:
        try:
            await client.list_sessions(timeout=2.0)
        except ServiceError:
            return False
    return True


def refuse_foreign_folder(lab: Path) -> None:
    """Raises FailedPreconditionError (LAB_NOT_OURS) unless the folder is absent, empty, or a lab of ours."""
    from agent.lab.workspace import open_lab as open_workspace

    workspace = open_workspace(lab, "lab")
    if workspace is not None:
        workspace.close()


async def find_session(client: AgentClient, lab: str, tag: str) -> pb.Session | None:
    """The session of a tag in a lab that this agentd knows."""
    for session in await client.list_sessions():
        if session.tag == tag and (session.lab == lab or PurePath(session.lab) == PurePath(lab)):
            return session
    return None


async def _wait_for_orphans(address_file: Path) -> None:
    """Daemons end with the process that started them, but need a moment to notice that it was killed."""
    entries = read_addresses(address_file).values()
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline and any(_runs(entry.pid) for entry in entries):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


def _runs(pid: int) -> bool:
    """Whether the process is a daemon of a lab: the number alone may belong to another one by now."""
    try:
        return "--exit-with-parent" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
