"""The channel between evaluator and candidate: same numbers over memory and pipes, no endless waits."""

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from trainer.harness.logit_channel import (
    FAILED,
    LENGTH,
    CandidateFailedError,
    ChannelError,
    LogitClient,
    LogitServer,
    logits_offset,
    memory_bytes,
)

BATCH, CONTEXT, VOCABULARY = 3, 5, 11
Answer = Callable[[npt.NDArray[np.int32]], npt.NDArray[np.float32]]


@dataclass
class Ends:
    client: LogitClient
    server: LogitServer
    reply_write: int
    request_read: int


@pytest.fixture(params=["memory", "pipes"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    request_read, request_write = os.pipe()
    reply_read, reply_write = os.pipe()
    memory = mmap.mmap(-1, memory_bytes(BATCH, CONTEXT, VOCABULARY)) if request.param == "memory" else None
    client = LogitClient(request_write, reply_read, memory, logits_offset(BATCH, CONTEXT), timeout=0.5)
    yield Ends(client, LogitServer(request_read, reply_write, memory), reply_write, request_read)
    for descriptor in (request_read, request_write, reply_read, reply_write):
        try:
            os.close(descriptor)
        except OSError:
            pass


def answer(tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Logits that tell which token stood where."""
    out = np.zeros((*tokens.shape, VOCABULARY), dtype=np.float32)
    np.put_along_axis(out, tokens[..., None].astype(np.int64), 1.5, axis=-1)
    return out


def run(ends: Ends, function: Answer) -> threading.Thread:
    def serve() -> None:
        ends.server.ready(VOCABULARY)
        ends.server.serve(function)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_logits_arrive_as_they_were_computed_for_each_shape(ends: Ends) -> None:
    thread = run(ends, answer)
    assert ends.client.wait_ready() == VOCABULARY
    for batch, length in ((BATCH, CONTEXT), (1, 2), (2, CONTEXT)):
        tokens = np.random.default_rng(batch).integers(0, VOCABULARY, (batch, length)).astype(np.int32)
        out = np.empty((batch, length, VOCABULARY), dtype=np.float32)
        ends.client.logits(tokens, out)
        assert np.array_equal(out, answer(tokens))
    ends.client.end()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_silence_is_an_error_in_time(ends: Ends) -> None:
    with pytest.raises(ChannelError, match="in time"):
        ends.client.wait_ready()


@pytest.mark.timeout(20)
def test_a_candidate_that_reads_no_request_is_an_error_in_time(ends: Ends) -> None:
    """More than a pipe holds; on the device tokens go through the pipe in either case."""
    with pytest.raises(ChannelError, match="in time"):
        ends.client.answer_on_device(np.zeros((4, 50_000), np.int32))


def test_a_request_of_more_than_a_pipe_holds_arrives_whole(ends: Ends) -> None:
    seen: list[npt.NDArray[np.int32]] = []

    class Seeing(Table):
        def answer(self, tokens: npt.NDArray[np.int32]) -> None:
            seen.append(tokens.copy())

    ends.server.offer(Seeing())
    thread = threading.Thread(target=lambda: ends.server.serve(answer))
    thread.start()
    tokens = np.arange(200_000, dtype=np.int32).reshape(4, -1)
    ends.client.answer_on_device(tokens)
    assert np.array_equal(seen[0], tokens)
    ends.client.end()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_closed_pipe_and_nonsense_are_errors(ends: Ends) -> None:
    os.write(ends.reply_write, b"?")
    with pytest.raises(ChannelError, match="answered"):
        ends.client.wait_ready()
    os.close(ends.reply_write)
    with pytest.raises(ChannelError, match="closed"):
        ends.client.wait_ready()


def test_a_failure_comes_with_its_reason(ends: Ends) -> None:
    ends.server.failed("CONTRACT_VIOLATION", "weights do not fit")
    with pytest.raises(CandidateFailedError, match="weights do not fit") as caught:
        ends.client.wait_ready()
    assert caught.value.reason == "CONTRACT_VIOLATION"


def test_an_oversized_or_unreadable_failure_is_refused(ends: Ends) -> None:
    os.write(ends.reply_write, FAILED + LENGTH.pack(1 << 30))
    with pytest.raises(ChannelError, match="too long"):
        ends.client.wait_ready()
    os.write(ends.reply_write, FAILED + LENGTH.pack(4) + b"[1]]")
    with pytest.raises(ChannelError, match="not readable"):
        ends.client.wait_ready()


def test_a_candidate_that_has_gone_is_an_error_not_a_signal(ends: Ends) -> None:
    os.close(ends.request_read)
    with pytest.raises(ChannelError):
        for _ in range(3):
            ends.client.logits(np.zeros((1, 2), np.int32), np.empty((1, 2, VOCABULARY), np.float32))
    ends.client.end()


class Table:
    """Device memory that is none: an array of the test."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.is_open = fails, False
        self.memory = np.full(BATCH * CONTEXT * VOCABULARY, np.nan, dtype=np.float32)

    def open(self) -> None:
        if self.fails:
            raise OSError("no such memory")
        self.is_open = True

    def answer(self, tokens: npt.NDArray[np.int32]) -> None:
        logits = answer(tokens).reshape(-1)
        self.memory[: logits.size] = logits


def test_logits_stay_in_device_memory_once_it_is_open(ends: Ends) -> None:
    table = Table()
    ends.server.offer(table)
    thread = threading.Thread(target=lambda: ends.server.serve(answer))
    thread.start()
    ends.client.open_device()
    assert table.is_open
    for batch in (2, BATCH):
        tokens = np.random.default_rng(batch).integers(0, VOCABULARY, (batch, CONTEXT)).astype(np.int32)
        ends.client.answer_on_device(tokens)
        wanted = answer(tokens).reshape(-1)
        assert np.array_equal(table.memory[: wanted.size], wanted)
    ends.client.end()
    thread.join(timeout=5)
    assert not thread.is_alive()


@pytest.mark.parametrize(("device", "why"), [(Table(fails=True), "no such memory"), (None, "without")])
def test_memory_that_cannot_be_opened_leaves_the_host_path(
    ends: Ends, device: Table | None, why: str
) -> None:
    if device is not None:
        ends.server.offer(device)
    thread = threading.Thread(target=lambda: ends.server.serve(answer))
    thread.start()
    with pytest.raises(CandidateFailedError, match=why):
        ends.client.open_device()
    tokens = np.array([[1, 2]], dtype=np.int32)
    out = np.empty((1, 2, VOCABULARY), dtype=np.float32)
    ends.client.logits(tokens, out)
    assert np.array_equal(out, answer(tokens))
    ends.client.end()
    thread.join(timeout=5)
    assert not thread.is_alive()
