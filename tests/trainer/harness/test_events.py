"""Events: one JSON object a line, batched, and a reader that has gone does not end a run."""

import json
import os

from trainer.harness.events import FLUSH_LINES, EventWriter
from trainer.harness.summary import format_summary


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_metrics_are_batched_by_number_and_age_and_events_go_at_once() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    clock = Clock()
    events = EventWriter(write, clock)

    def arrived() -> list[dict[str, object]]:
        try:
            return [json.loads(line) for line in os.read(read, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    events.metric(0, {"loss": 1.0})
    assert arrived() == []
    clock.now = 0.3
    events.metric(1, {"loss": float("nan")})
    assert arrived() == [
        {"type": "metric", "step": 0, "values": {"loss": 1.0}},
        {"type": "metric", "step": 1, "values": {"loss": None}},
    ]
    for step in range(FLUSH_LINES):
        events.metric(step, {})
    assert len(arrived()) == FLUSH_LINES
    events.emit("end", num_steps=3)
    assert arrived() == [{"type": "end", "num_steps": 3}]
    os.close(read)
    events.emit("end")
    events.emit("end")
    os.close(write)


def test_no_descriptor_means_no_events() -> None:
    events = EventWriter(-1)
    events.metric(0, {"loss": 1.0})
    events.emit("end")


def test_the_summary_has_the_ancestors_shape() -> None:
    lines = format_summary(
        {"val_bpb": 0.9979, "training_seconds": 300.1, "num_steps": 953, "mfu_percent": None, "depth": 8}
    ).splitlines()
    assert lines[0] == "---"
    assert lines[1] == "val_bpb:          0.997900"
    assert lines[2] == "training_seconds: 300.1"
    assert "mfu_percent:      n/a" in lines
    assert lines[-1] == "depth:            8"
    assert len(lines) == 10
