"""What one candidate process may do. Written as JSON by the daemon, carried out by the supervisor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Limits:
    """Caps on one process tree; 0 means none. Sizes in bytes, times in seconds."""

    memory_bytes: int = 0
    processes: int = 0
    file_bytes: int = 0
    scratch_bytes: int = 0
    scratch_files: int = 0
    wall_seconds: float = 0.0


@dataclass(frozen=True)
class Recording:
    """For a tree that may outlive its daemon: the file to record in, the file that names the daemon which
    looks after it, how long it may be without one, and how much it may print."""

    path: str
    owner: str
    orphan_seconds: float
    output_bytes: int


@dataclass(frozen=True)
class Plan:
    """One process tree. tier is a Tier by name; read and write are absolute paths, files or folders; masked
    paths lie below read ones and must not be seen: the unreadable file `mask` stands in for them. devices
    are nodes that may be used. keep_fds are inherited under their numbers. tmp_bytes bounds temporary files
    in memory (bubblewrap, container). image and engine belong to the container tier. With a recording the
    tree's output goes there, and EVENTS_FD is among keep_fds. loopback allows sockets where the tree has a
    network of its own (bubblewrap, container): its processes can reach each other and nothing else.
    scored trees see validation rows: what they lock is locked for nobody, so that it tells no other run."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    tier: str = "NONE"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    mask: str = ""
    devices: tuple[str, ...] = ()
    keep_fds: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)
    tmp_bytes: int = 1 << 30
    image: str = ""
    engine: str = ""
    recording: Recording | None = None
    loopback: bool = False
    scored: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def parse_plan(text: str) -> Plan:
    """The plan that to_json wrote."""
    fields = json.loads(text)
    fields["limits"] = Limits(**fields["limits"])
    if fields["recording"] is not None:
        fields["recording"] = Recording(**fields["recording"])
    for name in ("command", "read", "write", "masked", "devices", "keep_fds"):
        fields[name] = tuple(fields[name])
    return Plan(**fields)
