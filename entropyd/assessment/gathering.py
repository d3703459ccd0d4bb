"""Collects raw samples for an assessment, testing them on the way as the daemon would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from entropyd.conditioning.pipeline import Pipeline, PipelineSettings
from entropyd.health_tests.continuous_tests import Samples
from entropyd.source import EntropySource, SourceUnavailableError

STALL_SECONDS = 5.0


async def gather_samples(
    open_source: Callable[[], EntropySource],
    count: int,
    settle_seconds: float,
    *,
    settings: PipelineSettings | None = None,
) -> tuple[Samples, list[str], str]:
    """`count` consecutive samples, the names of health tests that failed on them, and the source's detail.

    Both components, interleaved as they come. Raises SourceUnavailableError.
    """
    parts: list[bytes] = []
    gathered = 0
    failed: list[str] = []
    async with open_source() as source:
        pipeline = Pipeline(source.description, bytes(32), settings)
        opened_at = time.monotonic()
        while gathered < count:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    chunk = await source.read()
            except TimeoutError as error:
                raise SourceUnavailableError(
                    f"{source.description.detail}: no samples for {STALL_SECONDS:g} s", cause="stalled"
                ) from error
            if time.monotonic() - opened_at < settle_seconds:
                continue
            report = await asyncio.to_thread(pipeline.process, chunk)
            failed += [v.test for v in report.verdicts if v.test not in failed]
            parts.append(chunk.data)
            gathered += len(chunk.data)
        detail = source.description.detail
    return np.frombuffer(b"".join(parts), np.uint8)[:count], failed, detail


async def gather_restarts(
    open_source: Callable[[], EntropySource], rows: int, columns: int, say: Callable[[str], None]
) -> Samples:
    """[rows, columns]: the first samples after each of `rows` openings. A failed opening is tried again."""
    matrix: list[bytes] = []
    misses = 0
    while len(matrix) < rows:
        try:
            async with open_source() as source, asyncio.timeout(STALL_SECONDS):
                data = (await source.read()).data
        except (SourceUnavailableError, TimeoutError) as error:
            misses += 1
            if misses > 20:
                raise SourceUnavailableError(
                    f"the receiver failed {misses} times to reopen: {error}", cause="stalled"
                ) from error
            await asyncio.sleep(0.2)
            continue
        matrix.append(data[:columns])
        if len(matrix) % 100 == 0:
            say(f"  {len(matrix)} of {rows}")
    return np.frombuffer(b"".join(matrix), np.uint8).reshape(rows, columns)
