"""A receiver that takes longer for a chunk than the gap that is a loss at full rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from autoresearch.entropy.v1 import entropy_pb2 as pb

from entropyd.settings import EntropydSettings
from entropyd.sources.synthetic import SyntheticReceiver
from entropyd.sources.tuning import Tuning
from services.entropy_client import EntropyClient
from services.settings import load_settings


@pytest.mark.long
async def test_a_slow_rate_is_no_gap(daemon, tmp_path: Path) -> None:
    capture, receiver = tmp_path / "c.iq", SyntheticReceiver(5)
    capture.write_bytes(b"".join(receiver.chunk() for _ in range(8)))
    source = ("--source", f"file:{capture}", "--sample-rate", "257000", "--settle-seconds", "0")
    with daemon(*source) as running:
        async with EntropyClient(running.grpc) as client:
            async for change in client.watch_health(timeout=60):
                if change.health.state != pb.HEALTH_STATE_STARTING:
                    break
    assert change.health.failing_test == ""
    assert change.health.state == pb.HEALTH_STATE_HEALTHY


def test_silence_is_never_shorter_than_a_few_chunks() -> None:
    slowest = ["--sample-rate=225001", "--chunk-bytes=4194304"]
    settings = load_settings(EntropydSettings, slowest, environment={})
    assert settings.timers().stall > 2 * settings.tuning().chunk_seconds > 18
    assert load_settings(EntropydSettings, [], environment={}).timers().stall == 2.0
    assert Tuning().longest_gap_seconds == 0.5
