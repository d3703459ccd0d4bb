"""Losses become metrics; a bad one stops the run whatever form it has."""

import json
import os

import pytest
import torch

from trainer.harness.device import open_device, peak_memory_bytes, seed_everything
from trainer.harness.events import EventWriter
from trainer.harness.failures import ContractError, NotFiniteError
from trainer.harness.loss_reader import LossReader
from trainer.harness.process_group import ProcessGroup, join_group


def test_each_step_becomes_a_metric_and_the_last_ten_are_averaged() -> None:
    read, write = os.pipe()
    events = EventWriter(write)
    reader = LossReader(events)
    for step in range(25):
        reader.submit(step, torch.tensor(50.0 - step), {"progress": step / 25})
    assert reader.finish() == pytest.approx(sum(50.0 - s for s in range(15, 25)) / 10)
    assert (reader.first, reader.last) == (50.0, 26.0)
    events.flush()
    os.close(write)
    with os.fdopen(read) as stream:
        lines = [json.loads(line) for line in stream]
    assert len(lines) == 25
    assert lines[24] == {"type": "metric", "step": 24, "values": {"loss": 26.0, "progress": 0.96}}


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 100.5])
def test_a_loss_that_is_not_usable_stops_the_run(loss: float) -> None:
    reader = LossReader(EventWriter(-1))
    reader.submit(0, torch.tensor(100.0), {})
    with pytest.raises(NotFiniteError, match="step 1"):
        reader.submit(1, torch.tensor(loss), {})


def test_an_unknown_or_absent_device_is_named() -> None:
    with pytest.raises(ContractError, match="auto, cpu, cuda"):
        open_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ContractError, match="use --device cpu"):
            open_device("cuda:3")
    device = open_device("cpu")
    assert (device.kind, device.peak_flops) == ("cpu", 0.0)
    assert peak_memory_bytes(device) > 10_000_000


def test_seeds_of_64_bits_fix_the_numbers() -> None:
    draws = []
    for seed in (2**64 - 1, 2**64 - 1, 2**64 - 2):
        seed_everything(seed)
        draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_one_process_is_a_group_of_one() -> None:
    group = join_group("cpu")
    tensor = torch.ones(3)
    group.sum(tensor)
    assert torch.equal(tensor, torch.ones(3))
    assert group.leads
    assert group.from_leader(0.25) == 0.25
    assert group.name_from_leader("varlen") == "varlen"
    share = group.sum_share(tensor)
    assert (share.wait() is tensor, share.rows) == (True, slice(0, 3))
    assert group.gather(tensor).wait() is tensor
    assert [ProcessGroup(0, 3).padded(count) for count in (1, 3, 4)] == [3, 3, 6]
