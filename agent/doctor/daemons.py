"""Checks of daemons that run already: those that the settings name (as under compose), else the lab's."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field

import psutil
from autoresearch.memory.v1 import memory_pb2

from agent.doctor.examination import Check, Finding, Surroundings, error, ok, warn
from agent.launch.addresses import read_addresses
from agent.settings import AgentSettings
from services.addresses import parse_address
from services.agent_client import AgentClient
from services.entropy_client import EntropyClient
from services.errors import ServiceError, UnauthenticatedError
from services.memory_client import MemoryClient
from services.security import ClientSecurity
from services.settings import load_settings

COMPOSE_COLUMNS = '{{.Label "com.docker.compose.service"}}|{{.State}}|{{.Status}}'
BY_COMPOSE = (
    "`docker compose ps -a` shows its exit code, `docker compose logs {}` what is wrong; mend it, then "
    "`docker compose up -d`"
)


@dataclass(frozen=True)
class Peer:
    """A daemon that should answer, and what to do where it does not."""

    name: str
    address: str
    remedy: str
    security: ClientSecurity = field(default_factory=ClientSecurity)


def check_daemons(around: Surroundings) -> list[Finding]:
    """entropyd, memoryd and agentd answer, and what they warn of. trainerd has a check of its own."""
    try:
        peers = [peer for peer in known_peers(around) if peer.name != "trainerd"]
    except ServiceError as problem:
        return [error("daemons", str(problem), "correct that AUTORESEARCH_AGENTD_… name or the file")]
    return asyncio.run(_ask_all(peers, around.answer_seconds))


def known_peers(around: Surroundings) -> list[Peer]:
    """Those of agentd's settings, else the running ones of the lab. Raises ConfigurationError."""
    if around.trainer_is_elsewhere:
        return _peers_of_settings(around)
    state = around.lab / ".autoresearch"
    entries = read_addresses(state / "addresses.json")
    if not any(psutil.pid_exists(entry.pid) for entry in entries.values()):
        return []  # check_age tells of what is left over
    return [
        Peer(
            name,
            entry.grpc,
            f"{state}/logs/{name}.log says why; `run --lab {shlex.quote(str(around.lab))}` starts it again",
        )
        for name, entry in entries.items()
    ]


def unreachable(peer: Peer, problem: ServiceError) -> Finding:
    """The finding for a daemon that gave no answer, with the next step."""
    if isinstance(problem, UnauthenticatedError):
        return error(
            peer.name,
            f"{peer.address} refuses the token: {problem}",
            "give the token file of that daemon",
        )
    return error(peer.name, f"nothing answers at {peer.address}: {problem}", peer.remedy)


def describe_memory(address: str, found: memory_pb2.GetStatusResponse) -> list[Finding]:
    """What memoryd's status means for a person."""
    place = f"{found.row_count} memories in {found.backend}, at {address}"
    if found.durable:
        findings = [ok("memoryd", f"{place}, durable")]
    elif found.backend.startswith("ferricula"):
        findings = [
            warn(
                "memoryd",
                f"{place}: a power cut may take back what was acknowledged, as that server does not sync",
                "use SQLite or PostgreSQL where this matters: `memoryd migrate` moves the memories",
            )
        ]
    else:
        findings = [
            warn(
                "memoryd",
                f"{place}: a power cut may take back what was acknowledged",
                "turn on what its warnings name (fsync, full_page_writes …; docs/storage.md)",
            )
        ]
    return findings + [warn("memoryd", text, "see docs/memoryd.md") for text in found.warnings]


def check_compose(around: Surroundings) -> list[Finding]:
    """No service of the compose stack on this machine restarts again and again, or gave up."""
    tool = shutil.which("docker", path=around.environment.get("PATH", ""))
    if tool is None:
        return []
    project = around.environment.get("COMPOSE_PROJECT_NAME") or "autoresearch"
    labels = (f"label=com.docker.compose.project={project}", "label=com.docker.compose.oneoff=False")
    chosen = [f"--filter={label}" for label in labels]
    try:
        listed = subprocess.run(
            [tool, "ps", "-a", *chosen, f"--format={COMPOSE_COLUMNS}"],
            capture_output=True,
            text=True,
            timeout=20,
            env=dict(around.environment),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if listed.returncode != 0:
        return []  # no engine runs here, or it is not for this user
    rows = [line.split("|", 2) for line in listed.stdout.splitlines() if line.count("|") >= 2]
    findings = [
        error("compose", f"{service}: {status}", BY_COMPOSE.format(service))
        for service, state, status in rows
        if _is_broken(state, status)
    ]
    if rows and not findings:
        findings = [ok("compose", f"{sum(state == 'running' for _, state, _ in rows)} services run")]
    return findings


def _is_broken(state: str, status: str) -> bool:
    gave_up = state in ("exited", "dead") and not status.startswith(("Exited (0)", "Exited (143)"))
    return gave_up or state == "restarting" or "(unhealthy)" in status


def _peers_of_settings(around: Surroundings) -> list[Peer]:
    settings = load_settings(AgentSettings, (), environment=around.environment)
    peers = []
    for name, setting, address, token_file in (
        ("trainerd", "trainer", settings.trainer, settings.trainer_token_file),
        ("memoryd", "memory", settings.memory, settings.memory_token_file),
        ("entropyd", "entropy", settings.entropy, settings.entropy_token_file),
    ):
        if address:
            host = parse_address(address, name=f"AUTORESEARCH_AGENTD_{setting.upper()}").host
            security = settings.peer(token_file, f"AUTORESEARCH_AGENTD_{setting.upper()}_TOKEN_FILE")
            peers.append(Peer(name, address, _next_step(name, host, address), security))
    return peers


def _next_step(name: str, host: str, address: str) -> str:
    """Hosts without a dot are names of compose services."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return f"start it: `{name} --listen {address}`"
    if "." not in host and ":" not in host:
        return BY_COMPOSE.format(host)
    return f"start {name} on {host}, or check the address and the firewall"


async def _ask_all(peers: list[Peer], seconds: float) -> list[Finding]:
    answers = await asyncio.gather(*(_ask(peer, seconds) for peer in peers))
    return [finding for findings in answers for finding in findings]


async def _ask(peer: Peer, seconds: float) -> list[Finding]:
    try:
        if peer.name == "memoryd":
            async with MemoryClient(peer.address, security=peer.security) as memory:
                return describe_memory(peer.address, await memory.status(timeout=seconds))
        if peer.name == "entropyd":
            async with EntropyClient(peer.address, security=peer.security) as entropy:
                status = await entropy.status(timeout=seconds)
            source = [ok("entropyd", f"source {status.source_url}, at {peer.address}")]
            return source + [warn("entropyd", text, "see docs/entropyd.md") for text in status.warnings]
        async with AgentClient(peer.address, security=peer.security) as agent:
            sessions = await agent.list_sessions(timeout=seconds)
        return [ok(peer.name, f"{len(sessions)} sessions, at {peer.address}")]
    except ServiceError as problem:
        return [unreachable(peer, problem)]


CHECKS: tuple[Check, ...] = (check_compose, check_daemons)
