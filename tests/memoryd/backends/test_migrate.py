"""Moving a store: everything arrives, interruptions are continued, differences are noticed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import apsw
import pytest

from memoryd.backend import MemoryBackend, open_backend
from memoryd.embedding.embedder import NoEmbedder, open_embedder
from memoryd.memory import Batch, Edge, EdgeKind, Event, Memory, Record, Row, pack_vector
from memoryd.migrate import main, migrate
from memoryd.store_copy import store_digest
from services.errors import ConfigurationError, FailedPreconditionError, UnavailableError
from tests.contract.ferricula_server import serve_ferricula


async def filled(url: str, count: int = 1200) -> MemoryBackend:
    backend = await open_backend(url)
    puts = tuple(
        Memory(
            Row(number, {"text": f"run {number} lr 0.0{number}"}, pack_vector([number, 1.0])),
            Record(1000 + number, 2000, fidelity=1 / (number + 1), recall_count=number),
        )
        for number in range(count)
    )
    edges = tuple(Edge(number, number + 1, "next", EdgeKind.CAUSAL, 0.5) for number in range(count - 1))
    await backend.apply(Batch(puts=puts, connects=edges, values={"identity": "me", "key/a": "1"}))
    gone = Edge(count - 1, 0, "of a memory that was removed")
    await backend.apply(Batch(deletes=(count - 1,), connects=(gone,)))
    await backend.apply(Batch(events=(Event(1, 5, "remembered", (1,)),)))
    return backend


def quiet(line: str) -> None:
    return None


async def test_everything_arrives(tmp_path: Path) -> None:
    source = await filled(f"sqlite:///{tmp_path / 'a.db'}")
    target = await open_backend(f"sqlite:///{tmp_path / 'b.db'}")
    lines: list[str] = []
    result = await migrate(source, target, NoEmbedder(), report=lines.append)
    assert (result.copied, result.already_there, result.gaps) == (1199, 0, ())
    assert "500 of 1199 memories" in lines
    assert await store_digest(source) == await store_digest(target) == result.digest
    assert await target.read_value("identity") == "me"
    assert await target.read_value("migration") is None
    assert await target.read_events(0, 9) == await source.read_events(0, 9)
    assert (await target.status()).highest_id == 1199
    await source.close()
    await target.close()


async def test_what_fails_its_checksum_is_named_as_left_behind(tmp_path: Path) -> None:
    await (await filled(f"sqlite:///{tmp_path / 'a.db'}", 20)).close()
    with contextlib.closing(apsw.Connection(str(tmp_path / "a.db"))) as file:
        file.execute("UPDATE memory SET vector = x'00' WHERE id = 7")
    source = await open_backend(f"sqlite:///{tmp_path / 'a.db'}", read_only=True)
    target = await open_backend(f"sqlite:///{tmp_path / 'b.db'}")
    lines: list[str] = []
    assert (await migrate(source, target, NoEmbedder(), report=lines.append)).copied == 18
    (note,) = [line for line in lines if line.startswith("note: ")]
    assert "not carried over" in note
    assert "memory 7" in note
    await source.close()
    await target.close()


class FailingBackend:
    """A target that goes away after a number of batches."""

    def __init__(self, inner: MemoryBackend, batches: int) -> None:
        self._inner = inner
        self._left = batches

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def apply(self, batch: Batch) -> None:
        self._left -= 1
        if self._left < 0:
            raise UnavailableError("gone", reason="STORE_UNREACHABLE")
        await self._inner.apply(batch)


@pytest.mark.parametrize("batches", range(1, 12))
async def test_an_interrupted_migration_goes_on(tmp_path: Path, batches: int) -> None:
    source = await filled(f"sqlite:///{tmp_path / 'a.db'}")
    target = await open_backend(f"sqlite:///{tmp_path / 'b.db'}")
    with pytest.raises(UnavailableError):
        await migrate(source, FailingBackend(target, batches), NoEmbedder(), report=quiet)  # type: ignore[arg-type]
    result = await migrate(source, target, NoEmbedder(), report=quiet)
    assert result.already_there == min(1199, 500 * (batches - 1))
    assert await store_digest(target) == await store_digest(source)
    await source.close()
    await target.close()


async def test_a_store_with_other_content_is_not_overwritten(tmp_path: Path) -> None:
    source = await filled(f"sqlite:///{tmp_path / 'a.db'}", 5)
    target = await filled(f"sqlite:///{tmp_path / 'b.db'}", 3)
    with pytest.raises(FailedPreconditionError) as caught:
        await migrate(source, target, NoEmbedder(), report=quiet)
    assert caught.value.reason == "TARGET_NOT_EMPTY"
    await source.close()
    await target.close()


async def test_nor_is_a_remote_one_which_keeps_no_mark_of_where_it_comes_from(tmp_path: Path) -> None:
    source = await filled(f"sqlite:///{tmp_path / 'a.db'}", 5)
    async with serve_ferricula(tmp_path / "remote.db") as address:
        target = await open_backend(f"ferricula+http://{address}")
        precious = Memory(Row(2, {"text": "precious"}, pack_vector([1.0, 1.0])), Record(1, 1))
        await target.apply(Batch(puts=(precious,)))
        with pytest.raises(FailedPreconditionError) as caught:
            await migrate(source, target, NoEmbedder(), report=quiet)
        assert caught.value.reason == "TARGET_NOT_EMPTY"
        assert [memory.row.text for memory in await target.scan(-1, 9)] == ["precious"]
        await target.apply(Batch(deletes=(2,), puts=tuple(await source.scan(-1, 2))))
        assert (await migrate(source, target, NoEmbedder(), report=quiet)).copied == 4
        await target.close()
    await source.close()


async def test_from_a_ferricula_vectors_are_made_anew_and_said_so(tmp_path: Path) -> None:
    async with serve_ferricula(tmp_path / "remote.db") as address:
        source = await filled(f"ferricula+http://{address}", 20)
        target = await open_backend(f"sqlite:///{tmp_path / 'b.db'}")
        embedder = await open_embedder("static")
        lines: list[str] = []
        result = await migrate(source, target, embedder, report=lines.append)
        assert (result.copied, result.embedded) == (19, 19)
        assert any("vectors are not given back" in line for line in lines)
        stored = await target.scan(-1, 1)
        assert stored[0].row.dimension == embedder.dimension
        await source.close()
        await target.close()


def test_the_command_moves_a_store_and_prints_the_hash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    async def fill() -> str:
        backend = await filled(f"sqlite:///{tmp_path / 'a.db'}", 10)
        digest = await store_digest(backend)
        await backend.close()
        return digest

    digest = asyncio.run(fill())
    arguments = ["--from", f"sqlite:///{tmp_path / 'a.db'}", "--to", f"sqlite:///{tmp_path / 'b.db'}"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"9 memories copied, 0 were there; sha256 {digest}\n"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("sqlite:///missing.db", "sqlite:///b.db", "no store at missing.db"),
        ("sqlite:///a.db", "sqlite:///a.db", "same store"),
        ("mysql://x", "sqlite:///b.db", "--backend"),
    ],
)
def test_a_mistake_gets_one_clear_sentence(
    source: str, target: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        main(["--from", source, "--to", target])
    assert not (tmp_path / "b.db").exists()
