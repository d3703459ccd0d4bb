"""A memoryd whose store is another memoryd: it works, and says what it cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import UnsupportedError
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
