"""Every reason that a daemon can answer with stands in the list atop its proto."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Said at the start of a process or by a command; never on the wire.
LOCAL = {
    "entropyd": set[str](),
    "memoryd": {"STORE_TOO_NEW", "STORE_IN_USE", "STORE_LOST", "MIGRATION_DIFFERS", "TARGET_NOT_EMPTY"},
    "trainer": set[str](),
    "agent": {
        *("CHAMPION_NOT_FOUND", "AGENT_UNREACHABLE", "AGENT_NOT_RUNNING", "STREAM_LOST", "LAB_NOT_FOUND"),
        *("DAEMON_SILENT", "DAEMON_FAILED"),
    },
}
PROTOS = {"entropyd": "entropy", "memoryd": "memory", "trainer": "trainer", "agent": "agent"}


@pytest.mark.parametrize("daemon", PROTOS)
def test_every_reason_in_the_code_is_documented_in_the_proto(daemon: str) -> None:
    name = PROTOS[daemon]
    head = (ROOT / f"proto/autoresearch/{name}/v1/{name}.proto").read_text(encoding="utf-8")
    documented = set(re.findall(r"[A-Z][A-Z_]+", head.partition("\nservice ")[0]))
    used = {
        reason
        for path in (ROOT / daemon).rglob("*.py")
        for reason in re.findall(r"reason=\"([A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    assert len(used) > 5
    assert used - LOCAL[daemon] - documented == set()
    assert LOCAL[daemon] <= used, "a name of this list is no longer used"
