"""Who gets which devices next: one class an experiment, nobody overtaken on what he waits for."""

from __future__ import annotations

import pytest

from trainer.executor import DeviceInfo
from trainer.experiment import Budget, ExperimentRequest, Origin, SeedGrant
from trainer.leasing import next_lease


def device(index: int, name: str) -> DeviceInfo:
    return DeviceInfo(name, "cuda", 0, name, index=index)


def wants(count: int = 1, device_class: str = "") -> ExperimentRequest:
    return ExperimentRequest(
        experiment_id="e",
        source_hash="",
        seed=SeedGrant(1),
        budget=Budget("tokens", 1.0),
        data_hash="",
        preset="cpu",
        origin=Origin.USER,
        device_count=count,
        device_class=device_class,
    )


FREE = [device(0, "h100"), device(1, "l4"), device(2, "h100")]


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ([], None),
        ([wants()], (0, [0])),
        ([wants(1, "l4")], (0, [1])),
        ([wants(2)], (0, [0, 2])),
        ([wants(2, "l4")], None),
        ([wants(1, "b200"), wants(1, "l4")], (1, [1])),
        ([wants(3, "h100"), wants(1, "h100"), wants(1, "l4")], (2, [1])),
        ([wants(3), wants(1)], None),
        ([wants(2, "l4"), wants(1)], (1, [0])),
    ],
)
def test_the_oldest_that_can_have_its_devices_is_next(
    queue: list[ExperimentRequest], expected: tuple[int, list[int]] | None
) -> None:
    found = next_lease(queue, FREE)
    assert (found and (found[0], [one.index for one in found[1]])) == expected


def test_without_free_devices_nobody_is_next() -> None:
    assert next_lease([wants()], []) is None
