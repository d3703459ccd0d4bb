"""A memoryd whose store is another memoryd: it works, and says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import UnsupportedError
from tests.memoryd.embedding_service import embedding_service, has_vector
from tests.memoryd.running import running


async def test_a_memoryd_over_another_one(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    async with running(tmp_path / "remote") as remote:
        backend = f"ferricula+{remote.url}"
        async with running(tmp_path, backend=backend) as near:
            first = await near.rpc.remember("cats purr", idempotency_key="k", keystone=True)
            assert (await near.rpc.remember("cats purr", idempotency_key="k")).memory_id == first.memory_id
            await near.rpc.remember("dogs bark")
            await near.rpc.connect(1, 2, label="pets")
            assert (await near.rpc.recall("cat"))[0].memory.text == "cats purr"
            (warning,) = (await near.rpc.status()).warnings
            assert "it cannot dream" in warning
            with pytest.raises(UnsupportedError) as caught:
                await near.rpc.dream()
            assert caught.value.reason == "CAPABILITY_MISSING"
            with pytest.raises(UnsupportedError):
                await near.rpc.backup(str(tmp_path / "copy.db"))
            assert "error: this backend cannot store what a dream changes" in await near.text(
                "POST", "/dream"
            )
        assert (await remote.rpc.inspect(1)).keystone
        async with running(tmp_path, "--embedder=static", backend=backend) as near:
            assert near.engine.store.mirror.dimension == 256
            assert {arm.arm for arm in (await near.rpc.recall("kitten"))[0].arms} >= {"vector"}
            status = await near.rpc.status()
            assert (status.row_count, status.edge_count, status.keystone_count) == (2, 1, 1)
            await near.rpc.forget(2)
        assert (await remote.rpc.status()).row_count == 1


async def test_without_an_embedder_words_are_all_and_the_status_says_so(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    async with running(tmp_path / "remote", "--embedder=static") as remote:
        await remote.rpc.remember("cats purr")
        async with running(tmp_path, backend=f"ferricula+{remote.url}") as near:
            assert near.engine.store.mirror.dimension == 0
            assert [hit.memory.text for hit in await near.rpc.recall("cat")] == ["cats purr"]
            (warning,) = (await near.rpc.status()).warnings
            assert "there is no embedder to make them anew: found by words only" in warning


async def test_vectors_are_made_once_a_late_embedder_answers(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    async with running(tmp_path / "remote") as remote, embedding_service() as service:
        for text in ("cats purr", "dogs bark loudly", "?"):
            await remote.rpc.remember(text)
        async with running(tmp_path, f"--embedder={service.url}", backend=f"ferricula+{remote.url}") as near:
            warnings = (await near.rpc.status()).warnings
            assert any(line.startswith("3 memories are found by words only until") for line in warnings)
            await near.rpc.remember("owls hoot")  # after the start, and waiting as well
            assert (await near.rpc.status()).waiting_vector_count == 4
            await service.come_back()
            await near.engine.missing_vectors.make()
            assert [has_vector(near, number) for number in (1, 2, 3, 4)] == [True, True, False, True]
            assert {arm.arm for arm in (await near.rpc.recall("cats"))[0].arms} >= {"vector"}
            assert len((await near.rpc.status()).warnings) == 1
