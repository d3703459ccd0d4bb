"""Healthy receivers over a long time, and captures of real ones where a path is given."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from entropyd.conditioning.pipeline import Pipeline
from entropyd.health_tests.verdicts import Severity
from entropyd.source import Chunk, SourceDescription, SourceKind
from entropyd.sources.synthetic import SyntheticReceiver
from tests.entropyd.receivers import BYTES, RADIO, Feed

CAPTURE = os.environ.get("AUTORESEARCH_TEST_CAPTURE", "")  # modes1.bin of dump1090, raw u8 I/Q


def run_healthy(sample_count: int, seed: int) -> Counter[tuple[str, Severity]]:
    feed, pipeline, receiver = Feed(), Pipeline(RADIO, b"k" * 32), SyntheticReceiver(seed, sigma=1.3)
    seen: Counter[tuple[str, Severity]] = Counter()
    for _ in range(-(-sample_count // BYTES)):
        report = pipeline.process(feed.chunk(receiver.chunk()))
        seen.update((verdict.test, verdict.severity) for verdict in report.verdicts)
    return seen


def test_ten_million_healthy_samples_raise_nothing() -> None:
    assert run_healthy(10_000_000, seed=1) == Counter()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_hundred_million_healthy_samples_raise_nothing() -> None:
    assert run_healthy(100_000_000, seed=2) == Counter()


@pytest.mark.nightly
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_million_healthy_samples_raise_at_most_one_passing_alarm() -> None:
    seen = run_healthy(10_000_000_000, seed=3)
    assert sum(seen.values()) <= 1
    assert not any(severity is Severity.PERMANENT for _, severity in seen)


@pytest.mark.parametrize("sigma", [1.0, 1.3, 2.0, 4.0, 8.0, 20.0])
@pytest.mark.parametrize("bandwidth", [0.5, 0.8, 1.0])
def test_every_healthy_level_and_filter_passes(sigma: float, bandwidth: float) -> None:
    feed, pipeline = Feed(), Pipeline(RADIO, b"k" * 32)
    receiver = SyntheticReceiver(4, sigma=sigma, bandwidth=bandwidth)
    for _ in range(3):
        report = pipeline.process(feed.chunk(receiver.chunk()))
        assert report.verdicts == ()


@pytest.mark.skipif(not CAPTURE, reason="set AUTORESEARCH_TEST_CAPTURE to the path of modes1.bin")
def test_a_real_capture_of_aircraft_is_degraded_by_its_carrier_alone() -> None:
    data = Path(CAPTURE).read_bytes()
    pipeline = Pipeline(SourceDescription(SourceKind.RADIO, "capture", raw=True), b"k" * 32)
    tests = set()
    for sequence, start in enumerate(range(0, len(data) - BYTES + 1, BYTES)):
        chunk = Chunk(data[start : start + BYTES], sequence, sequence * 0.05, BYTES)
        tests |= {verdict.test for verdict in pipeline.process(chunk).verdicts}
    assert not tests & {"repetition-count", "adaptive-proportion"}
    assert "carrier" in tests
