"""From chunks of raw samples to finished blocks: tests, gate, conditioner; pure but for its own state."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from entropyd.conditioning.conditioner import Conditioner
from entropyd.conditioning.pools import Block
from entropyd.health import HealthState
from entropyd.health_tests.continuous_tests import ContinuousTests, Cutoffs, Samples, make_cutoffs
from entropyd.health_tests.radio_tests import RadioLimits, RadioTests
from entropyd.health_tests.replay_tests import ReplayTests
from entropyd.health_tests.sample_statistics import SampleStatistics
from entropyd.health_tests.verdicts import PASSED, Severity, Verdict, degraded, failed, worst
from entropyd.source import Chunk, SourceDescription, SourceKind

DEFAULT_MIN_ENTROPY = Fraction(1, 10)
LARGEST_MIN_ENTROPY = Fraction(1, 2)


@dataclass(frozen=True)
class PipelineSettings:
    """min_entropy: credited bits per 8-bit sample, 0.1 unless a site assessment allows up to 0.5.
    start_up_samples: per component, tested and thrown away before anything counts.
    max_gap_seconds: a longer pause between chunks halves the credit of the later one."""

    min_entropy: Fraction = DEFAULT_MIN_ENTROPY
    start_up_samples: int = 4096
    max_gap_seconds: float = 0.5
    cutoffs: Cutoffs = field(default_factory=make_cutoffs)
    limits: RadioLimits = field(default_factory=RadioLimits)


@dataclass(frozen=True)
class ChunkReport:
    """What became of one chunk. `blocks` may be served now; they come from the chunk before this one.
    After an alarm the caller throws away what it has of this source."""

    state: HealthState
    verdict: Verdict
    verdicts: tuple[Verdict, ...]
    statistics: dict[str, SampleStatistics]
    blocks: tuple[Block, ...]
    credited_bits: float


class Pipeline:
    """Feed `process` every chunk in order; it keeps the state of all tests across them.

    Blocks are held back until the chunk after theirs has passed as well, because some failures show only
    in the second chunk. An alarm voids the open block and what is held, and start-up begins again.
    `replay` carries its memory from an earlier opening of the same source into this one.
    """

    def __init__(
        self,
        origin: SourceDescription,
        key: bytes,
        settings: PipelineSettings | None = None,
        replay: ReplayTests | None = None,
    ) -> None:
        self._settings = settings or PipelineSettings()
        self._conditioner = Conditioner(key, origin)
        # A file is a replay by its nature: it is labelled so and claims nothing.
        self._replay = None if origin.kind is SourceKind.FILE else replay or ReplayTests()
        self._held: list[Block] = []
        self._arrived_at: float | None = None
        self._next_sequence: int | None = None
        self._restart()

    def _restart(self) -> None:
        self._tested_samples = 0
        self._radio = RadioTests(self._settings.limits)
        self._continuous = (
            ContinuousTests("I", self._settings.cutoffs),
            ContinuousTests("Q", self._settings.cutoffs),
        )
        self._held.clear()
        self._conditioner.void()

    def process(self, chunk: Chunk) -> ChunkReport:
        """Takes a chunk of at least 1,024 pairs; a shorter one is a short read."""
        verdicts, statistics = self._test(chunk)
        verdict = worst(verdicts)
        if verdict.is_alarm:
            self._restart()
            state = HealthState.DEGRADED if verdict.severity is Severity.DEGRADED else HealthState.FAILED
            return ChunkReport(state, verdict, tuple(verdicts), statistics, (), 0.0)
        if self._tested_samples < self._settings.start_up_samples:
            self._tested_samples += len(chunk.data) // 2
            return ChunkReport(HealthState.STARTING, verdict, tuple(verdicts), statistics, (), 0.0)
        bits_per_byte = self._settings.min_entropy * Fraction(verdict.credit_factor)
        released, self._held = self._held, self._conditioner.add(chunk.data, bits_per_byte)
        state = HealthState.HEALTHY if verdict is PASSED else HealthState.DEGRADED
        credited = float(len(chunk.data) * bits_per_byte)
        return ChunkReport(state, verdict, tuple(verdicts), statistics, tuple(released), credited)

    def _test(self, chunk: Chunk) -> tuple[list[Verdict], dict[str, SampleStatistics]]:
        verdicts = self._check_delivery(chunk)
        samples = np.frombuffer(chunk.data, dtype=np.uint8)
        if len(chunk.data) < chunk.expected_bytes or samples.size < 2048 or samples.size % 2:
            text = f"{len(chunk.data)} bytes came where {chunk.expected_bytes} were asked for"
            return [*verdicts, failed("short-read", text)], {}
        components: tuple[Samples, Samples] = (samples[0::2].copy(), samples[1::2].copy())
        for tests, component in zip(self._continuous, components, strict=True):
            verdicts.append(tests.check(component))
        radio, statistics = self._radio.check(*components)
        verdicts += radio
        if self._replay is not None:
            verdicts += self._replay.check(chunk.data)
        verdicts.append(self._check_estimate(statistics))
        return [verdict for verdict in verdicts if verdict is not PASSED], statistics

    def _check_delivery(self, chunk: Chunk) -> list[Verdict]:
        gap = 0.0 if self._arrived_at is None else chunk.arrived_at - self._arrived_at
        lost = chunk.dropped_bytes > 0 or self._next_sequence not in (None, chunk.sequence)
        self._arrived_at, self._next_sequence = chunk.arrived_at, chunk.sequence + 1
        if lost:
            return [degraded("gap", f"samples were lost before chunk {chunk.sequence}")]
        if gap > self._settings.max_gap_seconds:
            return [degraded("gap", f"{gap:.2f} s without samples before chunk {chunk.sequence}")]
        return []

    def _check_estimate(self, statistics: dict[str, SampleStatistics]) -> Verdict:
        lowest = min(min(s.common_value_entropy, s.markov_entropy) for s in statistics.values())
        credited = float(self._settings.min_entropy)
        if lowest < credited:
            text = f"the estimate of {lowest:.3f} bit per sample is below the credited {credited:g}"
            return failed("estimator", text)
        return PASSED
