"""The contract of EntropySource: every implementation runs all of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import pytest

from entropyd.source import Chunk, EntropySource, SourceKind, SourceUnavailableError


class SourceUnderTest(ABC):
    """How the tests reach one implementation and what it stands on."""

    kind: SourceKind
    raw: bool
    repeats_by_nature = False
    can_go_away = True

    @abstractmethod
    def open(self) -> EntropySource:
        """A new, unopened source."""

    @abstractmethod
    async def go_away(self) -> None:
        """Ends what the source reads from."""


class EntropySourceContract:
    """Inherit, and give a fixture `subject`."""

    async def read_some(self, source: EntropySource, count: int) -> list[Chunk]:
        async with asyncio.timeout(20):
            return [await source.read() for _ in range(count)]

    async def test_it_describes_itself_before_and_while_open(self, subject: SourceUnderTest) -> None:
        source = subject.open()
        before = source.description
        assert (before.kind, before.raw) == (subject.kind, subject.raw)
        assert before.detail
        async with source:
            assert source.description == before

    async def test_chunks_are_numbered_timed_and_never_empty(self, subject: SourceUnderTest) -> None:
        async with subject.open() as source:
            chunks = await self.read_some(source, 4)
        assert [chunk.sequence for chunk in chunks] == [0, 1, 2, 3]
        assert all(chunk.data for chunk in chunks)
        assert all(len(chunk.data) <= chunk.expected_bytes for chunk in chunks)
        times = [chunk.arrived_at for chunk in chunks]
        assert times == sorted(times)
        assert all(isinstance(chunk.data, bytes) for chunk in chunks)
        if subject.raw:
            assert all(len(chunk.data) % 2 == 0 for chunk in chunks)

    async def test_no_buffer_is_handed_out_twice(self, subject: SourceUnderTest) -> None:
        async with subject.open() as source:
            chunks = await self.read_some(source, 4)
        if not subject.repeats_by_nature:
            assert len({chunk.data for chunk in chunks}) == 4

    async def test_it_can_be_opened_again_and_again(self, subject: SourceUnderTest) -> None:
        for _ in range(3):
            async with subject.open() as source:
                assert (await self.read_some(source, 1))[0].sequence == 0

    async def test_leaving_twice_is_harmless(self, subject: SourceUnderTest) -> None:
        source = subject.open()
        async with source:
            await self.read_some(source, 1)
        async with asyncio.timeout(5):
            await source.__aexit__(None, None, None)

    async def test_a_cancelled_read_leaves_it_fit_to_be_closed(self, subject: SourceUnderTest) -> None:
        async with subject.open() as source:
            await self.read_some(source, 1)
            task = asyncio.create_task(source.read())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=5)
            assert task.done()
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 5

    async def test_once_gone_every_read_says_so(self, subject: SourceUnderTest) -> None:
        if not subject.can_go_away:
            pytest.skip("the operating system does not go away")
        async with subject.open() as source:
            await self.read_some(source, 1)
            await subject.go_away()
            async with asyncio.timeout(20):
                with pytest.raises(SourceUnavailableError) as caught:
                    while True:
                        await source.read()
                assert caught.value.cause
                assert str(caught.value)
                with pytest.raises(SourceUnavailableError):
                    await source.read()

    async def test_what_is_not_there_cannot_be_opened(self, subject: SourceUnderTest) -> None:
        if not subject.can_go_away:
            pytest.skip("the operating system does not go away")
        await subject.go_away()
        with pytest.raises(SourceUnavailableError) as caught:
            async with asyncio.timeout(20), subject.open():
                pass
        assert caught.value.reason == "SOURCE_UNHEALTHY"
        assert caught.value.metadata["test"] == caught.value.cause
