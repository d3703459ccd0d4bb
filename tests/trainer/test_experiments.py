"""TrainerService over a real channel, with the scripted executor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from services.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
)
from tests.trainer.serving import Served, request, serving, watch_to_end
from trainer.experiment import Experiment, Failure, Result, State
from trainer.journal import StoredEvent, body
from trainer.presets import PRESETS
from trainer.scripted_executor import ScriptedExecutor
from trainer.wire import read_request, write_event, write_result


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(ScriptedExecutor(seconds=0.1), tmp_path) as served:
        yield served


async def test_a_run_goes_through_its_states_in_order(lab: Served) -> None:
    started = await lab.client.start(request("e1"))
    assert started.state in (pb.EXPERIMENT_STATE_QUEUED, pb.EXPERIMENT_STATE_STARTING)
    events = await watch_to_end(lab.client, "e1")
    states = [event.state.state for event in events if event.HasField("state")]
    assert states == [
        pb.EXPERIMENT_STATE_QUEUED,
        pb.EXPERIMENT_STATE_STARTING,
        pb.EXPERIMENT_STATE_TRAINING,
        pb.EXPERIMENT_STATE_EVALUATING,
        pb.EXPERIMENT_STATE_SUCCEEDED,
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert sum(event.HasField("metric") for event in events) == 20
    assert events[-1].state.result.val_bpb == (await lab.client.get("e1")).result.val_bpb
    assert events[-1].state.last_sequence == events[-1].sequence


async def test_starting_twice_returns_the_same_experiment(lab: Served) -> None:
    both = await asyncio.gather(*(lab.client.start(request("e1")) for _ in range(8)))
    assert len({one.create_time.ToMicroseconds() for one in both}) == 1
    assert len((await lab.client.list_experiments()).experiments) == 1


async def test_the_same_id_with_other_content_is_a_conflict(lab: Served) -> None:
    await lab.client.start(request("e1"))
    with pytest.raises(AlreadyExistsError) as caught:
        await lab.client.start(request("e1", seed=2))
    assert caught.value.reason == "EXPERIMENT_CONFLICT"


async def test_the_score_depends_on_source_and_seed_only(lab: Served) -> None:
    for name, source, seed in (("a", "DEPTH = 4\n", 1), ("b", "DEPTH = 4\n", 1), ("c", "DEPTH = 4\n", 2)):
        await lab.client.start(request(name, source, seed))
        await watch_to_end(lab.client, name)
    scores = [(await lab.client.get(name)).result.val_bpb for name in "abc"]
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize(
    ("source", "reason"),
    [("def broken(:\n", Failure.SYNTAX_ERROR), ('FAIL = "NOT_FINITE"\n', Failure.NOT_FINITE)],
)
async def test_a_failing_source_is_data_not_an_error(lab: Served, source: str, reason: Failure) -> None:
    await lab.client.start(request("bad", source))
    last = (await watch_to_end(lab.client, "bad"))[-1].state
    assert last.state == pb.EXPERIMENT_STATE_FAILED
    assert pb.FailureReason.Name(last.result.failure_reason) == f"FAILURE_REASON_{reason}"
    assert not last.result.HasField("val_bpb")


async def test_watching_resumes_after_any_event_without_loss(lab: Served) -> None:
    await lab.client.start(request("e1"))
    whole = await watch_to_end(lab.client, "e1")
    for after in range(len(whole) + 1):
        rest = await watch_to_end(lab.client, "e1", after)
        assert [event.sequence for event in rest] == [event.sequence for event in whole[after:]]


async def test_a_watcher_that_comes_early_sees_the_same_as_one_that_comes_late(lab: Served) -> None:
    await lab.client.start(request("e1"))
    early = await asyncio.gather(*(watch_to_end(lab.client, "e1") for _ in range(5)))
    late = await watch_to_end(lab.client, "e1")
    assert all(one == late for one in early)


async def test_cancelling_a_running_experiment(tmp_path: Path) -> None:
    async with serving(ScriptedExecutor(seconds=60), tmp_path) as lab:
        await lab.client.start(request("slow"))
        await lab.client.start(request("waiting"))
        assert (await lab.client.get("waiting")).queue_position == 1
        cancelled = await lab.client.cancel("slow", "no longer wanted")
        assert cancelled.state == pb.EXPERIMENT_STATE_CANCELLED
        assert cancelled.result.failure_message == "no longer wanted"
        gone = await lab.client.cancel("waiting", "")
        assert gone.state == pb.EXPERIMENT_STATE_CANCELLED
        assert (await lab.client.cancel("slow", "again")).result.failure_message == "no longer wanted"


async def test_cancelling_while_it_waits_leaves_the_queue_in_order(tmp_path: Path) -> None:
    async with serving(ScriptedExecutor(seconds=60), tmp_path) as lab:
        for name in ("running", "first", "second"):
            await lab.client.start(request(name))
        await lab.client.cancel("first", "")
        assert (await lab.client.get("second")).queue_position == 1
        await lab.client.cancel("running", "")
        await _until(lab, "second", pb.EXPERIMENT_STATE_TRAINING)


async def test_a_full_queue_is_an_error_with_a_hint(tmp_path: Path) -> None:
    async with serving(ScriptedExecutor(seconds=60), tmp_path, capacity=2) as lab:
        for number in range(3):
            await lab.client.start(request(f"e{number}"))
        with pytest.raises(ResourceExhaustedError) as caught:
            await lab.client.start(request("e3"))
        assert caught.value.reason == "QUEUE_FULL"
        assert caught.value.retry_after == 10.0


async def test_several_slots_run_at_once(tmp_path: Path) -> None:
    async with serving(ScriptedExecutor(seconds=60, slots=3), tmp_path) as lab:
        for number in range(4):
            await lab.client.start(request(f"e{number}"))
        assert lab.experiments.running_count == 3
        assert lab.experiments.queued_count == 1
        assert all(device.leased for device in (await lab.client.capabilities()).devices)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"experiment_id": ""}, "INVALID_EXPERIMENT_ID"),
        ({"experiment_id": "../escape"}, "INVALID_EXPERIMENT_ID"),
        ({"experiment_id": ".."}, "INVALID_EXPERIMENT_ID"),
        ({"experiment_id": "x" * 65}, "INVALID_EXPERIMENT_ID"),
        ({"train_source": ""}, "SOURCE_TOO_LARGE"),
        ({"train_source": "#" * (2**20 + 1)}, "SOURCE_TOO_LARGE"),
        ({"budget": pb.Budget(kind=pb.BUDGET_KIND_TIME, amount=0)}, "INVALID_BUDGET"),
        ({"budget": pb.Budget(kind=pb.BUDGET_KIND_TIME, amount=float("nan"))}, "INVALID_BUDGET"),
        ({"budget": pb.Budget(kind=pb.BUDGET_KIND_TOKENS, amount=float("inf"))}, "INVALID_BUDGET"),
        ({"budget": pb.Budget(amount=5)}, "INVALID_BUDGET"),
        ({"preset": "nonsense"}, "UNKNOWN_PRESET"),
        ({"device_count": -1}, "INVALID_ARGUMENT"),
        ({"origin": 99}, "UNSPECIFIED_ENUM"),
        ({"wall_limit": Duration(seconds=-5)}, "INVALID_ARGUMENT"),
    ],
)
async def test_bad_requests_are_refused_with_a_reason(
    lab: Served, changes: dict[str, object], reason: str
) -> None:
    message = request("fine")
    message.MergeFrom(pb.StartExperimentRequest(**changes))  # type: ignore[arg-type]
    for name, value in changes.items():
        if isinstance(value, str):
            setattr(message, name, value)
    with pytest.raises(ServiceError) as caught:
        await lab.client.start(message)
    assert isinstance(caught.value, InvalidArgumentError | NotFoundError)
    assert caught.value.reason == reason
    assert (await lab.client.list_experiments()).experiments == []


async def test_unknown_experiments_are_not_found(lab: Served) -> None:
    for call in (lab.client.get("none"), lab.client.cancel("none", ""), watch_to_end(lab.client, "none")):
        with pytest.raises(NotFoundError) as caught:
            await call
        assert caught.value.metadata == {"experiment_id": "none"}


async def test_lists_are_paged_newest_first_and_filtered_by_label(lab: Served) -> None:
    for number in range(7):
        await lab.client.start(request(f"e{number}", labels={"kind": "even" if number % 2 == 0 else "odd"}))
    seen, token = [], ""
    while True:
        page = await lab.client.list_experiments(page_size=2, page_token=token)
        seen += [one.experiment_id for one in page.experiments]
        if not (token := page.next_page_token):
            break
    assert seen == [f"e{number}" for number in reversed(range(7))]
    odd = await lab.client.list_experiments(labels={"kind": "odd"})
    assert [one.experiment_id for one in odd.experiments] == ["e5", "e3", "e1"]
    with pytest.raises(InvalidArgumentError) as caught:
        await lab.client.list_experiments(page_token="forged")
    assert caught.value.reason == "INVALID_PAGE_TOKEN"


async def test_what_a_full_disk_kept_from_the_queue_runs_when_it_is_asked_for_again(lab: Served) -> None:
    message = request("stored", preset="tiny")
    values, digest = read_request(message, PRESETS["tiny"])
    lab.journal.add(Experiment(values), digest, message.train_source)
    assert (await lab.client.get("stored")).state == pb.EXPERIMENT_STATE_QUEUED
    await lab.client.start(message)
    states = [event.state.state for event in await watch_to_end(lab.client, "stored")]
    assert (states[0], states[-1]) == (pb.EXPERIMENT_STATE_QUEUED, pb.EXPERIMENT_STATE_SUCCEEDED)


async def test_a_disk_that_fills_up_during_a_run_loses_nothing_of_its_result(small_disk: Path) -> None:
    filler = small_disk / "filler"
    async with serving(ScriptedExecutor(seconds=1.0), small_disk) as lab:
        await lab.client.start(request("e1"))
        await _until(lab, "e1", pb.EXPERIMENT_STATE_TRAINING)
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass
        while lab.experiments.running_count:
            await asyncio.sleep(0.05)
        assert (await lab.client.get("e1")).state == pb.EXPERIMENT_STATE_TRAINING  # never shown unwritten
        with pytest.raises(ResourceExhaustedError, match="free some space"):
            await lab.client.start(request("e2", "x = 1\n" * 20_000))
        filler.unlink()
        last = (await watch_to_end(lab.client, "e1"))[-1].state
        assert (last.state, last.result.HasField("val_bpb")) == (pb.EXPERIMENT_STATE_SUCCEEDED, True)
        await lab.client.start(request("e2"))
        assert (await watch_to_end(lab.client, "e2"))[-1].state.state == pb.EXPERIMENT_STATE_SUCCEEDED


async def test_no_number_keeps_experiments_from_being_listed(lab: Served) -> None:
    source = f"DEPTH = 10**40\nMATRIX_LR = 1{'0' * 400}\n"
    budget = pb.Budget(kind=pb.BUDGET_KIND_TOKENS, amount=1e23)
    await lab.client.start(request("vast", source, budget=budget))
    await watch_to_end(lab.client, "vast")
    found = (await lab.client.get("vast")).result
    assert (found.failure_reason, found.depth) == (pb.FAILURE_REASON_UNSPECIFIED, 0)
    vast = Result(num_steps=1 << 80, tokens=1 << 63, depth=1 << 31, peak_memory_bytes=-1)
    sent = write_result(vast)  # as an older daemon may have left it in the journal
    assert (sent.num_steps, sent.depth, sent.peak_memory_bytes) == (2**63 - 1, 2**31 - 1, 0)
    step = write_event(StoredEvent(1, 1.0, "metric", body(step=1 << 70, values={}))).metric.step
    assert step == 2**63 - 1


async def test_capabilities_say_what_is_in_force(lab: Served) -> None:
    found = await lab.client.capabilities()
    assert found.executor == "scripted"
    assert found.default_preset == "cpu"
    assert "cpu" in found.presets
    assert found.warnings


async def test_the_template_carries_the_preset(lab: Served) -> None:
    template = await lab.client.template("tiny")
    assert "TOTAL_BATCH_SIZE = 512" in template.files["train.py"]
    assert template.dataset.vocabulary_size == 512
    assert template.budget.kind == pb.BUDGET_KIND_TOKENS
    with pytest.raises(NotFoundError) as caught:
        await lab.client.template("nonsense")
    assert caught.value.reason == "UNKNOWN_PRESET"


async def test_what_ran_is_interrupted_and_what_waited_runs_after_a_restart(tmp_path: Path) -> None:
    async with serving(ScriptedExecutor(seconds=60), tmp_path) as lab:
        for name in ("ran", "waited"):
            await lab.client.start(request(name))
        await _until(lab, "ran", pb.EXPERIMENT_STATE_TRAINING)
    async with serving(ScriptedExecutor(seconds=0.05), tmp_path) as lab:
        ran = await lab.client.get("ran")
        assert ran.state == pb.EXPERIMENT_STATE_FAILED
        assert ran.result.failure_reason == pb.FAILURE_REASON_INTERRUPTED
        events = await watch_to_end(lab.client, "waited")
        assert events[-1].state.state == pb.EXPERIMENT_STATE_SUCCEEDED
        sequences = [event.sequence for event in await watch_to_end(lab.client, "ran")]
        assert sequences == list(range(1, len(sequences) + 1))


async def test_a_journal_left_by_a_killed_daemon_is_closed(tmp_path: Path) -> None:
    """As after SIGKILL: the record says TRAINING and nobody is there."""
    async with serving(ScriptedExecutor(seconds=60), tmp_path / "live") as lab:
        await lab.client.start(request("ran"))
        await _until(lab, "ran", pb.EXPERIMENT_STATE_TRAINING)
        await asyncio.sleep(0.1)
        (tmp_path / "copy").mkdir()
        for path in (tmp_path / "live").glob("journal.db*"):
            (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    async with serving(ScriptedExecutor(), tmp_path / "copy") as lab:
        ran = await lab.client.get("ran")
        assert (ran.state, ran.result.failure_reason) == (
            pb.EXPERIMENT_STATE_FAILED,
            pb.FAILURE_REASON_INTERRUPTED,
        )
        assert lab.experiments.get("ran").state is State.FAILED


async def _until(lab: Served, experiment_id: str, state: pb.ExperimentState.ValueType) -> None:
    async for event in lab.client.watch(experiment_id, timeout=30):
        if event.HasField("state") and event.state.state == state:
            return
    raise AssertionError("the state was never entered")
