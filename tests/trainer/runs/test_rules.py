"""Why a run failed, and whether its figures hang together; pure functions."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.experiment import Budget, Failure, Finding
from trainer.runs.checkpoint_check import BadCheckpointError, count_parameters, take_checkpoint
from trainer.runs.events import EventReader, TrainingRecord
from trainer.runs.rules import (
    check_finish,
    check_overhead,
    check_training,
    check_work,
    classify_ending,
    time_rules,
)
from trainer.sandbox.launch import Ending, read_ending

ENDED = TrainingRecord(start_time=1.0, end_time=2.0, num_steps=4, tokens=400, last_step=3)


@pytest.mark.parametrize(
    ("ending", "reason", "message", "overrun", "expected"),
    [
        (Ending(), "", "", "", None),
        (Ending(code=1), "SYNTAX_ERROR", "SyntaxError: x", "", Failure.SYNTAX_ERROR),
        (Ending(code=1), "IMPORT_ERROR", "ImportError: x", "", Failure.IMPORT_ERROR),
        (Ending(code=1), "NOT_FINITE", "loss", "", Failure.NOT_FINITE),
        (Ending(code=1), "OUT_OF_MEMORY_DEVICE", "x", "", Failure.OUT_OF_DEVICE_MEMORY),
        (Ending(code=1), "OUT_OF_MEMORY_HOST", "x", "", Failure.OUT_OF_HOST_MEMORY),
        (Ending(code=1), "DISK_FULL", "x", "", Failure.DISK_FULL),
        (Ending(code=1), "COMPILE_FAILED", "x", "", Failure.COMPILE_FAILED),
        (Ending(code=1), "DEVICE_LOST", "x", "", Failure.DEVICE_LOST),
        (Ending(code=1), "CONTRACT_VIOLATION", "x", "", Failure.CONTRACT_VIOLATION),
        (Ending(code=1), "no such reason", "x", "", Failure.RUNTIME_ERROR),
        (Ending(code=1), "RUNTIME_ERROR", "PermissionError: [Errno 13]", "", Failure.SANDBOX_VIOLATION),
        (Ending(code=1), "RUNTIME_ERROR", "OSError: [Errno 27] File too large", "", Failure.LIMIT_EXCEEDED),
        (Ending(code=1), "RUNTIME_ERROR", "FileNotFoundError: [Errno 2] No such file: '/there'", "",
         Failure.SANDBOX_VIOLATION),
        (Ending(code=1), "RUNTIME_ERROR", "FileNotFoundError: [Errno 2] No such file: '/gone'", "",
         Failure.RUNTIME_ERROR),
        (Ending(code=1), "RUNTIME_ERROR", "OSError: [Errno 18] Invalid cross-device link", "",
         Failure.SANDBOX_VIOLATION),
        (Ending(code=3), "", "", "", Failure.RUNTIME_ERROR),
        (Ending(signal=9), "", "", "", Failure.KILLED),
        (Ending(code=137), "", "", "", Failure.KILLED),
        (Ending(signal=25), "", "", "", Failure.LIMIT_EXCEEDED),
        (Ending(signal=31), "", "", "", Failure.SANDBOX_VIOLATION),
        (Ending(signal=9, limit="memory"), "", "", "", Failure.OUT_OF_HOST_MEMORY),
        (Ending(signal=9, limit="processes"), "RUNTIME_ERROR", "x", "", Failure.LIMIT_EXCEEDED),
        (Ending(signal=9, limit="wall"), "", "", "", Failure.TIMEOUT),
        (Ending(signal=9), "", "", "training", Failure.TIMEOUT),
        (Ending(signal=9), "", "", "output", Failure.LIMIT_EXCEEDED),
        (Ending(signal=9, limit="stopped"), "", "", "device", Failure.OUT_OF_DEVICE_MEMORY),
        (Ending(signal=9, limit="abandoned"), "", "", "", Failure.INTERRUPTED),
        (Ending(signal=9, limit="stopped"), "", "", "", Failure.INTERRUPTED),
        (Ending(signal=9, limit="stopped"), "", "", "training", Failure.TIMEOUT),
        (Ending(signal=9, limit="stopped"), "", "", "output", Failure.LIMIT_EXCEEDED),
        (Ending(code=126), "", "", "", Failure.INTERNAL),
    ],
)  # fmt: skip
def test_each_way_to_end_has_its_reason(
    ending: Ending, reason: str, message: str, overrun: str, expected: Failure | None
) -> None:
    record = TrainingRecord(failure_reason=reason, failure_message=message)
    found = classify_ending(ending, record, overrun, ["last line"], exists=lambda path: path == "/there")
    assert (found[0] if found else None) is expected
    assert found is None or (found[1] and "\n" not in found[1])


def test_a_supervisor_without_a_report_still_has_an_ending() -> None:
    assert read_ending(b"", -9) == Ending(signal=9)
    assert read_ending(b"nonsense", 3) == Ending(code=3)
    assert read_ending(b'{"error": "no"}\n', 1).error == "no"


def test_figures_must_agree() -> None:
    facts: dict[str, object] = {"num_steps": 4, "tokens": 400}
    budget = Budget("tokens", 400)
    assert all(audit.passed for audit in check_training(ENDED, facts, budget))
    for record in (
        replace(ENDED, end_time=None),
        replace(ENDED, num_steps=0),
        replace(ENDED, last_step=-1),
        replace(ENDED, last_step=4),
        replace(ENDED, tokens=401),
    ):
        assert check_training(record, facts, budget)[0].finding is Finding.UNTRAINED
    assert check_training(ENDED, facts, budget, 400)[0].passed
    assert not check_training(ENDED, facts, budget, 401)[0].passed  # less than a row
    over = check_training(ENDED, facts, Budget("tokens", 399))
    assert over[1].finding is Finding.BUDGET_EXCEEDED


def worked(seconds: float, before: float = 1.0, start: float = 1.0, end: float = 2.0) -> TrainingRecord:
    """A run from start to end by the clock, that used so many seconds of CPU time there and before it."""
    used = before + seconds
    return replace(ENDED, start_time=start, end_time=end, cpu_before_start=before, cpu_at_end=used)


def test_too_little_computing_is_no_training_and_far_too_much_is_hidden_training() -> None:
    tokens = Budget("tokens", 400)
    for used, finding in (
        (0.9, Finding.UNTRAINED),
        (3.0, None),
        (49.0, None),
        (51.0, Finding.BUDGET_EXCEEDED),
    ):
        assert check_work(worked(used), 1.0, 400, tokens, 1).finding is finding
    assert check_work(worked(51.0), 0.0, 400, tokens, 1).passed  # not measured


def test_a_budget_by_time_is_one_of_the_threads_that_were_given() -> None:
    for threads, used, passed in ((1, 31.0, True), (1, 39.0, False), (4, 79.0, True), (0, 79.0, True)):
        audit = check_work(worked(used, start=10.0, end=30.0), 1.0, 400, Budget("time", 20), threads)
        assert audit.passed is passed


def test_little_may_be_computed_before_the_start_and_after_the_end() -> None:
    def failing(before: float, after: float, start_cpu: float = 1.0, weights: int = 0) -> list[str]:
        record = worked(3.0, before=before)
        audits = check_overhead(record, before + 3.0 + after, start_cpu, weights, 20.0)
        return [audit.name for audit in audits if not audit.passed]

    assert failing(6.9, 3.9) == []
    assert failing(7.1, 4.1) == ["work-before-start", "work-after-end"]
    assert failing(19.0, 15.0, start_cpu=10.0) == []
    assert failing(21.0, 21.0, start_cpu=10.0) == ["work-before-start", "work-after-end"]
    assert failing(1.0, 13.9, weights=1_000_000_000) == []
    record = worked(3.0, end=5.0)
    assert check_finish(record, 24.9, 0).passed
    assert check_finish(record, 44.9, 400_000_000).passed
    assert check_finish(record, 25.1, 0).finding is Finding.BUDGET_EXCEEDED


def test_time_rules_leave_room_for_the_last_step() -> None:
    rules = time_rules(Budget("time", 300), on_gpu=True, setup=0, wall=0, threads=4)
    assert 300 < rules.training_limit(Budget("time", 300)) <= 345
    assert rules.wall > rules.setup + 300
    assert rules.setup_cpu == 0
    assert time_rules(Budget("tokens", 1), on_gpu=False, setup=5, wall=9, threads=2).wall == 9


def make_reader() -> EventReader:
    return EventReader(lambda step, values: None, lambda name: None)


def test_events_are_read_whatever_a_candidate_writes() -> None:
    reader = make_reader()
    for line in (
        b"", b"null", b"[]", b"{", b'{"type": "metric"}', b'{"type": "metric", "step": "x", "values": {}}',
        b'{"type": "end", "num_steps": 1, "tokens": 1}', b"[" * 5000, b'{"type": ["start"]}', b"\xff\xfe",
        b'{"type": "metric", "step": 1e999, "values": {}}',
        b'{"type": "metric", "step": -1, "values": {"loss": 1.0}}',
        b'{"type": "metric", "step": 9007199254740993, "values": {"loss": 1.0}}',
        b'{"type": "start", "step_tokens": 1' + b"0" * 30 + b"}", b'{"type": "start", "step_tokens": "x"}',
    ):  # fmt: skip
        reader.take(line)
    assert reader.record == TrainingRecord()
    reader.take(b'{"type": "start", "step_tokens": 10}')
    reader.take(b'{"type": "metric", "step": 0, "values": {"loss": 5.0, "bad": null, "x": "y"}}')
    reader.take(b'{"type": "metric", "step": 1, "values": {"loss": 3.0}}')
    for line in (
        b'{"type": "end", "num_steps": 2, "tokens": 1' + b"0" * 30 + b"}",
        b'{"type": "end", "num_steps": 2, "tokens": 20, "checksum": 1' + b"0" * 30 + b"}",
        b'{"type": "end", "num_steps": -2, "tokens": 20}',
    ):
        reader.take(line)
        assert reader.record.end_time is None
    reader.take(b'{"type": "end", "num_steps": 2, "tokens": 20, "checksum": 7}')
    reader.take(b'{"type": "end", "num_steps": 9, "tokens": 90}')
    record = reader.record
    assert (record.num_steps, record.tokens, record.checksum, record.last_step) == (2, 20, 7, 1)
    assert (record.initial_loss, record.final_loss) == (5.0, 4.0)


def test_what_a_candidate_names_can_be_sent() -> None:
    named: list[str] = []
    reader = EventReader(lambda step, values: named.extend(values), lambda name: None)
    reader.take(b'{"type": "metric", "step": 1, "values": {"a\\ud800\\u0007b": 1.0}}')
    reader.take(b'{"type": "failure", "reason": "\\udc80", "message": "bad \\ud800 text\\nmore"}')
    assert named == ["a?b"]
    assert reader.record.failure_message == "bad ? text"


def write_weights(path: Path, header: object, data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_parameters_are_counted_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"x": "y"}}
    write_weights(path, tensors, bytes(24))
    assert count_parameters(path) == 6


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 20]}},
        {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}},
        {"a": {"dtype": "WHAT", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": "no", "data_offsets": [0, 4]}},
        {"a": 1},
    ],
)
def test_damaged_weights_are_refused(header: object, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_weights(path, header, bytes(24))
    with pytest.raises(BadCheckpointError):
        count_parameters(path)


@pytest.mark.parametrize(
    "damage", ["missing", "symlink", "hardlink", "large", "folder", "not-json", "no-config"]
)
def test_only_plain_bounded_files_are_taken(damage: str, tmp_path: Path) -> None:
    out, target = tmp_path / "out", tmp_path / "target"
    out.mkdir()
    write_weights(
        out / "model.safetensors", {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}, bytes(4)
    )
    (out / "checkpoint.json").write_text(json.dumps({"config": {}, "weights_sha256": "0" * 64}))
    weights = out / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "symlink":
        weights.rename(out / "real")
        weights.symlink_to("real")
    elif damage == "hardlink":
        (out / "second").hardlink_to(weights)
    elif damage == "folder":
        weights.unlink()
        weights.mkdir()
    elif damage == "not-json":
        (out / "checkpoint.json").write_text("{")
    elif damage == "no-config":
        (out / "checkpoint.json").write_text("[]")
    with pytest.raises(BadCheckpointError) as caught:
        take_checkpoint(out, target, 10 if damage == "large" else 1 << 20)
    assert "\n" not in str(caught.value)
