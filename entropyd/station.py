"""Keeps the source running: opens it, tests what it says, passes it on, and opens it again when it fails."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from entropyd.conditioning.pipeline import ChunkReport, Pipeline, PipelineSettings
from entropyd.conditioning.remote_intake import RemoteIntake
from entropyd.dispensing.dispenser import OS_ORIGIN, Dispenser
from entropyd.health import HealthState
from entropyd.health_tests.replay_tests import ReplayTests
from entropyd.health_tests.verdicts import Severity
from entropyd.source import Chunk, EntropySource, SourceKind, SourceUnavailableError

log = logging.getLogger(__name__)

_ABSENT_CAUSES = frozenset({"no-device", "library-missing", "library-too-old"})


@dataclass(frozen=True)
class Timers:
    """Seconds. settle: samples after opening that are thrown away. stall: silence that counts as death.
    reopen, reopen_most: first and longest pause before opening again. absent_most: longest pause that a
    source may ask for where there is nothing to open. permanent: pause after a failure that must not be
    forgiven."""

    settle: float = 1.0
    stall: float = 2.0
    reopen: float = 0.25
    reopen_most: float = 1.0
    absent_most: float = 60.0
    permanent: float = 30.0


class Station:
    """`run` never returns by itself; cancel it to stop. Alarms are counted by the name of their test."""

    def __init__(
        self,
        open_source: Callable[[], EntropySource],
        dispenser: Dispenser,
        *,
        pipeline: PipelineSettings | None = None,
        timers: Timers | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._open_source = open_source
        self._dispenser = dispenser
        self._pipeline_settings = pipeline or PipelineSettings()
        self._timers = timers or Timers()
        self._key = random_bytes(32)
        self._replay = ReplayTests()
        self._sleep = sleep
        self._pause = self._timers.reopen
        self._least_pause = 0.0  # of the failure at hand; the next one may have an end that is nearer
        self.alarms: Counter[str] = Counter()
        self.openings = 0

    async def run(self) -> None:
        while True:
            try:
                async with self._open_source() as source:
                    self.openings += 1
                    await self._follow(source)
            except SourceUnavailableError as error:
                absent = error.cause in _ABSENT_CAUSES
                self._withdraw(HealthState.ABSENT if absent else HealthState.FAILED, error.cause, str(error))
                if error.retry_after is not None:
                    self._least_pause = min(error.retry_after, self._timers.absent_most)
            except Exception as error:
                log.exception("the source failed in an unexpected way")
                self._withdraw(HealthState.FAILED, "defect", f"a defect in entropyd: {type(error).__name__}")
            await self._sleep(max(self._pause, self._least_pause))
            self._least_pause = 0.0
            self._pause = min(2 * self._pause, max(self._timers.reopen_most, self._pause))

    async def _follow(self, source: EntropySource) -> None:
        description = source.description
        if description.kind is SourceKind.OS:
            self._withdraw(
                HealthState.ABSENT, "no-radio", "no radio is configured; the operating system answers"
            )
            await asyncio.Event().wait()
        self._dispenser.health.set(HealthState.STARTING, explanation=f"{description.detail} is being tested")
        if description.raw:
            await self._follow_samples(source)
        await self._follow_remote(source)

    async def _follow_samples(self, source: EntropySource) -> None:
        pipeline = Pipeline(source.description, self._key, self._pipeline_settings, self._replay)
        opened_at = time.monotonic()
        while True:
            chunk = await self._read(source)
            if time.monotonic() - opened_at < self._timers.settle:
                continue
            self._apply(await asyncio.to_thread(pipeline.process, chunk))

    def _apply(self, report: ChunkReport) -> None:
        verdict, dispenser = report.verdict, self._dispenser
        if verdict.is_alarm:
            self.alarms[verdict.test] += 1
            self._withdraw(report.state, verdict.test, verdict.explanation)
            if verdict.severity is Severity.PERMANENT:
                self._least_pause = self._timers.permanent
                raise SourceUnavailableError(verdict.explanation, cause=verdict.test)
            return
        for block in report.blocks:
            dispenser.origin = block.origin
            dispenser.accept(block)
        if dispenser.origin.kind is SourceKind.OS:  # tested, but nothing released yet
            return
        self._pause = self._timers.reopen
        dispenser.health.set(report.state, failing_test=verdict.test, explanation=verdict.explanation)

    async def _follow_remote(self, source: EntropySource) -> None:
        intake = RemoteIntake(source.description, self._key)
        dispenser = self._dispenser
        while True:
            chunk = await self._read(source)
            self._pause = self._timers.reopen
            origin = intake.describe(chunk)
            if intake.is_credited(chunk):
                for block in intake.condition(chunk):
                    dispenser.accept(block)
                dispenser.origin = origin
                dispenser.health.set(HealthState.HEALTHY, explanation=origin.detail)
            else:
                if dispenser.generator.radio_bits:
                    dispenser.withdraw()
                dispenser.mix(chunk.data, origin)
                dispenser.origin = origin
                text = f"{origin.detail}: mixed in without credit"
                dispenser.health.set(HealthState.DEGRADED, failing_test="unaccounted", explanation=text)

    async def _read(self, source: EntropySource) -> Chunk:
        is_remote = source.description.kind is SourceKind.REMOTE
        limit = max(self._timers.stall, 60.0) if is_remote else self._timers.stall
        try:
            async with asyncio.timeout(limit):
                return await source.read()
        except TimeoutError as error:
            raise SourceUnavailableError(f"no samples for {limit:g} s", cause="stalled") from error

    def _withdraw(self, state: HealthState, test: str, explanation: str) -> None:
        dropped = self._dispenser.withdraw()
        self._dispenser.origin = OS_ORIGIN
        if self._dispenser.health.set(state, failing_test=test, explanation=explanation):
            log.warning(
                "the source is not usable",
                extra={"state": state.value, "test": test, "why": explanation, "dropped_bytes": dropped},
            )
