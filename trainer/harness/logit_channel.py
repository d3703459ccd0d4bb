"""How the evaluator asks a candidate process for logits: two pipes, and shared memory where it exists.

Request on the first pipe: HEADER (magic, batch, length, flags, logits_offset). The int32 tokens
[batch, length] stand at offset 0 of the shared memory, or follow the header on the pipe when there is
none. Reply on the second pipe: one status byte. After OK the float32 logits [batch, length, vocabulary]
stand at logits_offset of the shared memory, or follow the byte. After FAILED: a uint32 length and that
many bytes of JSON {"reason", "message"}. The first reply, before any request, is READY (followed by
uint32 vocabulary size) or FAILED. A request with the flag END, or a closed pipe, ends the candidate.

A candidate that was started ahead of its time says HELD once torch is loaded, and loads nothing of its own
before a request with the flag BEGIN.

Where both sit on one GPU, logits need not cross the host: a request with the flag OPEN asks the candidate to
open the device memory that it was started with (OK once HELLO stands at its beginning, or FAILED with the
reason, after which it goes on).
Requests with the flag DEVICE bring their tokens on the pipe; after OK the logits stand in that memory.

The candidate can write the shared memory at any time: a reader copies logits before it uses them.
numpy only, so that the trainer's side needs no torch.
"""

import json
import mmap
import os
import select
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

HEADER: Final = struct.Struct("<IIIIQ")
LENGTH: Final = struct.Struct("<I")
MAGIC: Final = 0x41524C31
END: Final = 1
OPEN: Final = 2
DEVICE: Final = 4
BEGIN: Final = 8
READY, OK, FAILED, HELD = b"R", b"K", b"F", b"H"
LONGEST_MESSAGE: Final = 65_536
PAGE: Final = 4096
HELLO: Final = 42.0


class ChannelError(Exception):
    """The other side closed the channel, spoke nonsense or did not answer in time."""


class CandidateFailedError(Exception):
    """The candidate said that it failed; reason is one of trainer.harness.failures."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def logits_offset(batch: int, length: int) -> int:
    """Where logits begin when at most batch x length tokens stand before them: the next page."""
    return -(-batch * length * 4 // PAGE) * PAGE


def memory_bytes(batch: int, length: int, vocabulary: int) -> int:
    """Size of the shared memory for requests up to this shape."""
    return logits_offset(batch, length) + batch * length * vocabulary * 4


class LogitClient:
    """The evaluator's end. timeout is in seconds for each answer; it holds on POSIX only (elsewhere the
    owner of the process ends it, which closes the pipe)."""

    def __init__(
        self, request_fd: int, reply_fd: int, memory: mmap.mmap | None, offset: int, timeout: float
    ) -> None:
        self._request, self._reply = request_fd, reply_fd
        self._memory = memory
        self._offset = offset
        self._timeout = timeout
        self._until = 0.0  # when the answer to what was asked last is due
        if os.name == "posix":
            os.set_blocking(request_fd, False)  # who does not read must not keep the evaluator for ever

    def wait_held(self) -> None:
        """Waits until a candidate that was told to hold has loaded all but itself."""
        self._expect(HELD, self._deadline())

    def begin(self) -> None:
        """Lets such a candidate load itself."""
        self._write(HEADER.pack(MAGIC, 0, 0, BEGIN, 0), self._deadline())

    def wait_ready(self) -> int:
        """Waits for READY and returns the candidate's vocabulary size."""
        deadline = self._deadline()
        self._expect(READY, deadline)
        return int(LENGTH.unpack(self._read(LENGTH.size, deadline))[0])

    def logits(self, tokens: npt.NDArray[np.int32], out: npt.NDArray[np.float32]) -> None:
        """Asks for the logits of tokens [B, T] and copies them into out [B, T, V]."""
        self.ask(tokens)
        self.take(out)

    def ask(self, tokens: npt.NDArray[np.int32]) -> None:
        """Asks for the logits of tokens [B, T]; take() must follow before anything else is asked."""
        batch, length = tokens.shape
        self._until = self._deadline()
        header = HEADER.pack(MAGIC, batch, length, 0, self._offset)
        raw = np.ascontiguousarray(tokens, dtype=np.int32).tobytes()
        if self._memory is None:
            self._write(header + raw, self._until)
            return
        self._memory[: len(raw)] = raw
        self._write(header, self._until)

    def take(self, out: npt.NDArray[np.float32]) -> None:
        """Copies the logits that were asked for into out [B, T, V]."""
        self._expect(OK, self._until)
        if self._memory is None:
            raw = self._read(out.nbytes, self._until)
            out[:] = np.frombuffer(raw, dtype=np.float32).reshape(out.shape)
            return
        shared = np.frombuffer(self._memory, dtype=np.float32, count=out.size, offset=self._offset)
        np.copyto(out, shared.reshape(out.shape))

    def open_device(self) -> None:
        """Has the candidate open its device memory. Raises CandidateFailedError where it cannot."""
        deadline = self._deadline()
        self._write(HEADER.pack(MAGIC, 0, 0, OPEN, 0), deadline)
        self._expect(OK, deadline)

    def answer_on_device(self, tokens: npt.NDArray[np.int32]) -> None:
        """Returns once the logits of tokens [B, T] stand in the device memory."""
        batch, length = tokens.shape
        deadline = self._deadline()
        raw = np.ascontiguousarray(tokens, dtype=np.int32).tobytes()
        self._write(HEADER.pack(MAGIC, batch, length, DEVICE, 0) + raw, deadline)
        self._expect(OK, deadline)

    def end(self) -> None:
        """Asks the candidate to leave; no error when it already has."""
        try:
            self._write(HEADER.pack(MAGIC, 0, 0, END, 0), self._deadline())
        except ChannelError:
            pass

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def _expect(self, wanted: bytes, deadline: float) -> None:
        status = self._read(1, deadline)
        if status == wanted:
            return
        if status != FAILED:
            raise ChannelError(f"the candidate answered {status!r}")
        size = LENGTH.unpack(self._read(LENGTH.size, deadline))[0]
        if size > LONGEST_MESSAGE:
            raise ChannelError("the candidate's message is too long")
        try:
            fields = json.loads(self._read(size, deadline))
            raise CandidateFailedError(str(fields["reason"]), str(fields["message"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ChannelError("the candidate's failure is not readable") from error

    def _read(self, count: int, deadline: float) -> bytes:
        return read_exactly(self._reply, count, deadline)

    def _write(self, data: bytes, deadline: float) -> None:
        try:
            write_all(self._request, data, deadline)
        except OSError as error:
            raise ChannelError("the candidate closed its request pipe") from error


class DeviceAnswers(Protocol):
    """How the candidate answers into device memory."""

    def open(self) -> None:
        """Makes the memory usable; whatever it raises is told to the evaluator."""

    def answer(self, tokens: npt.NDArray[np.int32]) -> None:
        """Leaves the logits of tokens [B, T] in the memory, all work on the device done."""


class LogitServer:
    """The candidate's end: answers requests with a function from int32 [B, T] to float32 [B, T, V]."""

    def __init__(self, request_fd: int, reply_fd: int, memory: mmap.mmap | None) -> None:
        self._request, self._reply = request_fd, reply_fd
        self._memory = memory
        self._device: DeviceAnswers | None = None

    def offer(self, device: DeviceAnswers) -> None:
        """From now on requests may be answered into device memory."""
        self._device = device

    def hold(self) -> bool:
        """Says HELD and waits for BEGIN; False when anything else came."""
        write_all(self._reply, HELD)
        try:
            return bool(HEADER.unpack(read_exactly(self._request, HEADER.size, None))[3] & BEGIN)
        except ChannelError:
            return False

    def ready(self, vocabulary: int) -> None:
        write_all(self._reply, READY + LENGTH.pack(vocabulary))

    def failed(self, reason: str, message: str) -> None:
        text = json.dumps({"reason": reason, "message": message[:4000]}).encode()
        write_all(self._reply, FAILED + LENGTH.pack(len(text)) + text)

    def serve(self, answer: Callable[[npt.NDArray[np.int32]], npt.NDArray[np.float32]]) -> None:
        """Answers until END or a closed pipe. Exceptions of answer propagate to the caller."""
        while True:
            try:
                magic, batch, length, flags, offset = HEADER.unpack(
                    read_exactly(self._request, HEADER.size, None)
                )
            except ChannelError:
                return
            if magic != MAGIC or flags & END:
                return
            if flags & OPEN:
                self._open_device()
                continue
            size = batch * length * 4
            memory = None if flags & DEVICE else self._memory
            raw = read_exactly(self._request, size, None) if memory is None else memory[:size]
            tokens = np.frombuffer(raw, dtype=np.int32).reshape(batch, length)
            if flags & DEVICE and self._device is not None:
                self._device.answer(tokens)
                write_all(self._reply, OK)
                continue
            result = answer(tokens)
            if self._memory is None:
                write_all(self._reply, OK + result.tobytes())
                continue
            if offset + result.nbytes > len(self._memory):
                raise ChannelError(f"{result.nbytes} bytes of logits do not fit the shared memory")
            shared = np.frombuffer(self._memory, dtype=np.float32, count=result.size, offset=offset)
            np.copyto(shared, result.reshape(-1))
            write_all(self._reply, OK)

    def _open_device(self) -> None:
        try:
            if self._device is None:
                raise ChannelError("the candidate was started without device memory")
            self._device.open()
        except Exception as error:
            self.failed("RUNTIME_ERROR", f"{type(error).__name__}: {error}")
            return
        write_all(self._reply, OK)


def read_exactly(descriptor: int, count: int, deadline: float | None) -> bytes:
    """Reads count bytes. Raises ChannelError at end of file or after the monotonic deadline."""
    parts = []
    while count:
        _wait(descriptor, deadline)
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise ChannelError("the channel was closed")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_all(descriptor: int, data: bytes, deadline: float | None = None) -> None:
    """Writes data. Raises ChannelError after the monotonic deadline, where the descriptor does not block."""
    view = memoryview(data)
    while view:
        _wait(descriptor, deadline, writing=True)
        with suppress(BlockingIOError):
            view = view[os.write(descriptor, view) :]


def _wait(descriptor: int, deadline: float | None, *, writing: bool = False) -> None:
    if deadline is None or os.name != "posix":
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    left = deadline - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise ChannelError("no answer in time")
