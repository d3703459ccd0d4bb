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
class Plan:
    """One process tree. tier is a Tier by name; read and write are absolute paths, files or folders; masked
    paths lie below read ones and must not be seen: the unreadable file `mask` stands in for them. devices
    are nodes that may be used. keep_fds are inherited under their numbers. tmp_bytes bounds temporary files
    in memory (bubblewrap, container). image and engine belong to the container tier."""

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

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def parse_plan(text: str) -> Plan:
    """The plan that to_json wrote."""
    fields = json.loads(text)
    fields["limits"] = Limits(**fields["limits"])
    for name in ("command", "read", "write", "masked", "devices", "keep_fds"):
        fields[name] = tuple(fields[name])
    return Plan(**fields)
