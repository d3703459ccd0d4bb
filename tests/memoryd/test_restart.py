"""What a store keeps over restarts, kill -9 included; real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from autoresearch.memory.v1 import memory_pb2 as pb

from memoryd.sqlite.backend import open_sqlite
from memoryd.verbs import restore
from services.errors import ConfigurationError, ServiceError
from services.memory_client import MemoryClient
from tests.memoryd.running import running

FLAGS = ("--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--embedder=none", "--clock-tick-seconds=0")


@asynccontextmanager
async def process(
    folder: Path, *flags: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """A memoryd process over `folder`/memory.db and the line it announces itself with."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "memoryd", f"--backend=sqlite:///{folder / 'memory.db'}", *FLAGS, *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        line = await asyncio.wait_for(child.stdout.readline(), 60)
        yield child, json.loads(line) if line else {}
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def refuse(folder: Path, *flags: str) -> str:
    """The last line on stderr of a memoryd that must not start."""
    async with process(folder, *flags) as (child, announced):
        assert announced == {}
        _, errors = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 2
        lines = errors.decode().strip().splitlines()
        assert not any("Traceback" in line for line in lines)
        return lines[-1]


async def refuse_here(folder: Path, *flags: str) -> str:
    """As `refuse`, in this process."""
    with pytest.raises(ConfigurationError) as caught:
        async with running(folder, *flags):
            pass
    return caught.value.message


async def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    async with process(tmp_path) as (child, addresses), MemoryClient(addresses["grpc"]) as client:
        await client.remember("weber bracket newton", idempotency_key="k")
        await client.remember("quantum wave")
        await client.remember("gone again")
        await client.recall("weber")
        await client.set_keystone(2, True)
        await client.connect(1, 2, label="next")
        report = await client.dream()
        await client.forget(3)
        before = [await client.inspect(1), await client.inspect(2)]
        status, identity = await client.status(), await client.identity()
        child.send_signal(signal.SIGKILL)
        await child.wait()
    async with process(tmp_path) as (child, addresses), MemoryClient(addresses["grpc"]) as client:
        assert [await client.inspect(1), await client.inspect(2)] == before
        assert before[0].fidelity < 1
        again = await client.status()
        assert (again.row_count, again.edge_count, again.keystone_count) == (2, 1, 1)
        assert again.term_count == status.term_count
        assert (await client.identity()).agent_id == identity.agent_id
        assert not (await client.remember("weber bracket newton", idempotency_key="k")).created
        assert (await client.remember("new")).memory_id == 4
        assert report.ticks == 2
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 30) == 0


async def test_an_open_watch_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with (
        process(tmp_path, "--drain-seconds=60") as (child, addresses),
        MemoryClient(addresses["grpc"]) as client,
    ):
        await client.remember("one")
        seen = []

        async def watch() -> None:
            request = pb.WatchEventsRequest(after_sequence=0)
            async for event in client._stream(client._stub.WatchEvents, request, timeout=60):
                seen.append(event.kind)

        watching = asyncio.create_task(watch())
        while not seen:
            await client.set_keystone(1, not (await client.inspect(1)).keystone)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 30) == 0
        await asyncio.wait_for(watching, 5)


async def test_the_clock_is_fed_by_a_real_entropyd(tmp_path: Path) -> None:
    entropyd = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "entropyd", "--source=os:", "--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert entropyd.stdout is not None
    try:
        address = json.loads(await asyncio.wait_for(entropyd.stdout.readline(), 60))["grpc"]
        async with running(tmp_path, f"--entropy={address}") as memoryd:
            await memoryd.rpc.remember("one")
            await memoryd.engine.clock.tick()
            status = await memoryd.rpc.status()
            assert (status.dream_count, status.entropy_source) == (1, "os")
            assert (await memoryd.rpc.dream()).seed_source == "os"
            entropyd.terminate()
            await entropyd.wait()
            await memoryd.engine.clock.tick()
            assert (await memoryd.rpc.status()).entropy_source == "none"
    finally:
        if entropyd.returncode is None:
            entropyd.kill()
        await entropyd.wait()


async def test_heat_dreams_and_counters_survive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        for number in range(1, 8):
            await memoryd.text("POST", "/remember", {"text": f"cat number {number}"})
        await memoryd.text("POST", "/keystone/1")
        latest = await memoryd.text("POST", "/dream")
        await memoryd.text("POST", "/recall", {"text": "cat", "k": 7})
        heat = (await memoryd.data("GET", "/tools"))["heat"]
        skg = await memoryd.data("GET", "/skg")
        assert heat > 1
    async with running(tmp_path) as memoryd:
        assert await memoryd.text("GET", "/dream/latest") == latest
        assert (await memoryd.data("GET", "/tools"))["heat"] == pytest.approx(heat, abs=0.5)
        assert await memoryd.data("GET", "/skg") == skg
        archetypes = (await memoryd.data("GET", "/identity"))["archetypes"]
        assert [archetype["state"] for archetype in archetypes] == ["Listening"] * 5


async def test_a_second_memoryd_on_the_same_file_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        assert "is in use by another memoryd" in await refuse_here(tmp_path)


async def test_a_lost_store_is_noticed(tmp_path: Path) -> None:
    async with running(tmp_path) as memoryd:
        await memoryd.rpc.remember("one")
    (tmp_path / "memory.db").unlink()
    line = await refuse(tmp_path)
    assert "is empty, but" in line
    assert "--accept-empty-store" in line
    async with running(tmp_path, "--accept-empty-store") as memoryd:
        assert (await memoryd.rpc.status()).row_count == 0


async def test_an_empty_volume_is_noticed_by_a_sentinel_elsewhere(tmp_path: Path) -> None:
    volume, sentinel = tmp_path / "volume", tmp_path / "elsewhere" / "sentinel"
    volume.mkdir()
    async with running(volume, f"--sentinel={sentinel}") as memoryd:
        await memoryd.rpc.remember("one")
    for file in volume.iterdir():
        file.unlink()
    assert "is the volume mounted?" in await refuse_here(volume, f"--sentinel={sentinel}")


async def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    import apsw

    async with running(tmp_path):
        pass
    connection = apsw.Connection(str(tmp_path / "memory.db"))
    connection.pragma("user_version", 99)
    connection.close()
    assert "was written by a newer memoryd" in await refuse_here(tmp_path)


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    import apsw

    connection = apsw.Connection(str(tmp_path / "memory.db"))
    connection.execute("CREATE TABLE accounts(id)")
    connection.close()
    assert "of another program" in await refuse_here(tmp_path)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--backend=redis://x", "has no known scheme"),
        ("--backend=sqlite://memory.db", "is not sqlite:///RELATIVE/PATH"),
        ("--embedder=word2vec", "is not known"),
        ("--listen=nowhere", "--listen"),
        ("--http-listen=0.0.0.0:0", "can be reached from other machines"),
        ("--listen=0.0.0.0:0", "can be reached from other machines"),
    ],
)
async def test_a_wrong_setting_is_named(tmp_path: Path, flag: str, message: str) -> None:
    assert message in await refuse_here(tmp_path, flag)


async def test_a_backup_can_be_restored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy, target = tmp_path / "copy.db", tmp_path / "restored" / "memory.db"
    async with running(tmp_path) as memoryd:
        for number in range(50):
            await memoryd.rpc.remember(f"memory {number}", tags={"n": str(number)})
        await memoryd.rpc.connect(1, 2)
        result = await memoryd.rpc.backup(str(copy))
        before = await memoryd.rpc.list_memories(page_size=500)
    assert restore(["--from", str(copy), "--to", f"sqlite:///{target}"]) == 0
    output = capsys.readouterr().out
    assert json.loads(output) == {"rows": 50, "bytes": result.byte_count, "sha256": result.sha256}
    with pytest.raises(ConfigurationError, match="never overwritten"):
        restore(["--from", str(copy), "--to", f"sqlite:///{target}"])
    async with running(target.parent) as memoryd:
        assert await memoryd.rpc.list_memories(page_size=500) == before
        assert (await memoryd.rpc.status()).edge_count == 1


async def test_a_restore_takes_relative_paths_and_names_what_it_cannot_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backend = await open_sqlite("sqlite:///memory.db")
    await backend.backup(tmp_path / "copy.db")
    await backend.close()
    assert restore(["--from", "copy.db", "--to", "sqlite:///restored.db"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0
    (tmp_path / "letter.txt").write_text("no store at all " * 100)
    for source, target, problem in (
        ("nothing.db", "new.db", "nothing.db is not a file"),
        ("copy.db", "letter.txt/new.db", "cannot write .*new.db"),
        ("letter.txt", "new.db", "letter.txt is no intact copy"),
    ):
        with pytest.raises(ServiceError, match=problem):
            restore(["--from", source, "--to", f"sqlite:///{target}"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("new")) == []
