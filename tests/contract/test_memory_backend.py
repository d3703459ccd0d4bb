"""The MemoryBackend contract over SQLite, PostgreSQL with and without pgvector, and a remote ferricula."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from memoryd.backend import MemoryBackend, open_backend
from services.errors import ConfigurationError, UnavailableError
from tests.contract.memory_backend import CONTRACT, Check

BACKENDS = ("sqlite", "postgres-pgvector", "postgres-plain")


@dataclass(frozen=True)
class UrlPlace:
    url: str

    async def open(self, *, read_only: bool = False) -> MemoryBackend:
        return await open_backend(self.url, read_only=read_only)


async def make_place(kind: str, folder: Path, request: pytest.FixtureRequest) -> UrlPlace:
    if kind == "sqlite":
        return UrlPlace(f"sqlite:///{folder / 'store' / 'memory.db'}")
    server = request.getfixturevalue("postgres_server")
    return UrlPlace(await server.new_database(with_pgvector=kind == "postgres-pgvector"))


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", BACKENDS)
async def test_contract(kind: str, check: Check, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    await check(await make_place(kind, tmp_path, request), tmp_path)


@pytest.mark.parametrize("url", ["mysql://x", "memory.db", "sqlite:memory.db", "ferricula+http://", ""])
async def test_a_wrong_url_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--backend"):
        await open_backend(url)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(UnavailableError) as caught:
        await open_backend("postgresql://me:secret@127.0.0.1:1/db")
    assert caught.value.reason == "STORE_UNREACHABLE"
    assert "secret" not in caught.value.message
