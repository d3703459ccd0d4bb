"""A lab's sessions and proposals: from its running agentd, else from the ledger's file, read-only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from services.errors import NotFoundError

if TYPE_CHECKING:
    from agent.ledger import Ledger


@contextmanager
def open_ledger(lab: Path) -> Iterator[Ledger]:
    """The lab's ledger, read-only. Raises NotFoundError (LAB_NOT_FOUND) where there is none."""
    from agent.ledger import LEDGER_NAME, Ledger

    path = lab / ".autoresearch" / LEDGER_NAME
    if not path.is_file():
        raise NotFoundError(
            f"--lab: {lab} has no ledger; `autoresearch run --lab {lab}` makes a lab", reason="LAB_NOT_FOUND"
        )
    ledger = Ledger(path, clock=time.time, read_only=True)
    try:
        yield ledger
    finally:
        ledger.close()


def lab_preset(lab: Path) -> str:
    """The preset that the lab was made with; "" where nothing is recorded yet."""
    try:
        with open_ledger(lab) as ledger:
            sessions = ledger.sessions()
    except NotFoundError:
        return ""
    return sessions[0].setup.preset if sessions else ""
