"""Which daemons a lab needs, with which flags. Pure: nothing is started here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.addresses import parse_address
from services.errors import ConfigurationError

DEFAULT_PORTS: Mapping[str, tuple[int, int]] = {
    "entropyd": (50051, 9090),
    "memoryd": (50052, 8765),
    "trainerd": (50053, 9464),
    "agentd": (50054, 8780),
}
MODULES: Mapping[str, str] = {
    "entropyd": "entropyd",
    "memoryd": "memoryd",
    "trainerd": "trainer",
    "agentd": "agent",
}
_STORES = ("sqlite://", "postgresql://", "postgres://", "ferricula+http://", "ferricula+https://")


@dataclass(frozen=True)
class LaunchOptions:
    """What a person may choose. Peers are HOST:PORT of daemons that run already; empty ones are started.

    `memory` is HOST:PORT, a backend URL, an http:// address of a ferricula-compatible server, "none", or
    empty for the lab's own store. `default_ports` is for `autoresearch up`; otherwise ports are free ones.
    """

    lab: Path
    data: Path
    trainer: str = ""
    memory: str = ""
    entropy: str = ""
    entropy_source: str = "auto"
    executor: str = "local"
    embedder: str = ""
    unsafe: bool = False
    default_ports: bool = False
    drain_seconds: float = 1.0
    agent_flags: tuple[str, ...] = ()
    extra_flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=lambda: MODULES)

    @property
    def state(self) -> Path:
        return self.lab / ".autoresearch"


@dataclass(frozen=True)
class DaemonPlan:
    """One child process: `python -m module arguments…`."""

    name: str
    module: str
    arguments: tuple[str, ...]
    with_keys: bool = False


@dataclass(frozen=True)
class MemoryChoice:
    """Either the address of a memoryd that runs, or the backend of one to start; both empty means none."""

    peer: str = ""
    backend: str = ""


def choose_memory(text: str, state: Path) -> MemoryChoice:
    """Reads --memory. Raises ConfigurationError with the accepted forms."""
    if text == "none":
        return MemoryChoice()
    if not text:
        return MemoryChoice(backend=f"sqlite:///{(state / 'memory.db').as_posix()}")
    if text.startswith(("http://", "https://")):
        return MemoryChoice(backend=f"ferricula+{text}")
    if text.startswith(_STORES):
        return MemoryChoice(backend=text)
    if "://" in text:
        raise ConfigurationError(
            f"--memory: {text!r} has an unknown scheme; give HOST:PORT of a memoryd, http://… of a "
            "ferricula-compatible server, sqlite:///PATH, postgresql://… or none"
        )
    parse_address(text, name="--memory")
    return MemoryChoice(peer=text)


def plan_peers(options: LaunchOptions) -> list[DaemonPlan]:
    """The daemons to start before agentd, in no order: those without a peer address."""
    plans = []
    if not options.entropy:
        source = ("--source", options.entropy_source, "--state", str(options.state / "entropy"))
        plans.append(_plan("entropyd", options, source))
    memory = choose_memory(options.memory, options.state)
    if memory.backend:
        embedder = ("--embedder", options.embedder) if options.embedder else ()
        plans.append(_plan("memoryd", options, ("--backend", memory.backend, *embedder)))
    if not options.trainer:
        arguments = ["--executor", options.executor, "--data", str(options.data)]
        arguments += ["--state", str(options.state / "trainer")]
        arguments += ["--unsafe"] if options.unsafe else []
        plans.append(_plan("trainerd", options, tuple(arguments)))
    return plans


def plan_agent(options: LaunchOptions, started: Mapping[str, str]) -> DaemonPlan:
    """agentd, told where its peers are. `started` maps a daemon's name to its gRPC address."""
    memory = choose_memory(options.memory, options.state).peer or started.get("memoryd", "")
    peers = {
        "--trainer": options.trainer or started.get("trainerd", ""),
        "--memory": memory,
        "--entropy": options.entropy or started.get("entropyd", ""),
    }
    arguments = tuple(part for flag, address in peers.items() if address for part in (flag, address))
    return _plan("agentd", options, arguments + options.agent_flags, with_keys=True)


def _plan(
    name: str, options: LaunchOptions, arguments: tuple[str, ...], *, with_keys: bool = False
) -> DaemonPlan:
    grpc_port, http_port = DEFAULT_PORTS[name] if options.default_ports else (0, 0)
    arguments += ("--listen", f"127.0.0.1:{grpc_port}", "--http-listen", f"127.0.0.1:{http_port}")
    arguments += ("--drain-seconds", f"{options.drain_seconds:g}", "--exit-with-parent")
    return DaemonPlan(name, options.modules[name], arguments + options.extra_flags.get(name, ()), with_keys)
