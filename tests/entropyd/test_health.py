"""The record of a source's health."""

from __future__ import annotations

from entropyd.health import HealthRecord, HealthState


async def test_a_repeated_report_is_no_change_but_its_explanation_counts() -> None:
    record = HealthRecord()
    assert record.set(HealthState.HEALTHY, explanation="says radio, healthy")
    since = record.current.since
    assert not record.set(HealthState.HEALTHY, explanation="says radio, degraded")
    assert (record.sequence, record.current.since) == (2, since)
    assert record.current.explanation == "says radio, degraded"
    sequence, health = await anext(record.watch())
    assert (sequence, health.explanation) == (2, "says radio, degraded")
