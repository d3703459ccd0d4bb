"""The supervisor's side of a record: takes what a candidate says from pipes and writes it down."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress

from trainer.sandbox.plan import Recording
from trainer.sandbox.recording import BEGIN, END, EVENTS, EVENTS_FD, STDERR, STDOUT, Frame, identify
from trainer.sandbox.usage import CpuMeter

CHUNK_BYTES = 65_536
MOST_EVENT_BYTES = 256 << 20
# CPU time is not read anew for each event of a flood, but it is for those that begin or end training.
CPU_SECONDS = 0.05
_TELLING = (b'"start"', b'"end"')


class Recorder:
    """Opens the record and takes over the descriptors 1, 2 and EVENTS_FD, for a child to inherit.

    Raises OSError."""

    def __init__(
        self, recording: Recording, meter: CpuMeter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._file = os.open(recording.path, flags, 0o600)
        self._clock, self._meter = clock, meter
        self._left = {STDOUT: recording.output_bytes, EVENTS: MOST_EVENT_BYTES}
        self._cpu, self._cpu_time = 0.0, -1.0
        self._pipes: dict[int, str] = {}
        self._poll = select.poll()
        self.is_over_limit = self.is_broken = False
        for kind, descriptor in ((STDOUT, 1), (STDERR, 2), (EVENTS, EVENTS_FD)):
            read_fd, write_fd = os.pipe()
            os.dup2(write_fd, descriptor, inheritable=True)
            os.close(write_fd)
            self._pipes[read_fd] = kind
            self._poll.register(read_fd, select.POLLIN)
        self._write(BEGIN, str(identify(os.getpid())).encode())

    def watch(self, root: int) -> None:
        """After the child was made: gives up its ends of the pipes, and wakes when it ends."""
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        os.close(EVENTS_FD)
        with suppress(OSError, AttributeError):  # an old kernel: then the end is seen at the next poll
            self._poll.register(os.pidfd_open(root), select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Records for a while, or until the child has ended."""
        deadline = self._clock() + seconds
        while (left := deadline - self._clock()) > 0:
            for descriptor, _ in self._poll.poll(left * 1e3):
                if descriptor not in self._pipes:
                    self._poll.unregister(descriptor)
                    return
                self._read(descriptor)

    def end(self, report: dict[str, object]) -> None:
        """Records what is still in the pipes, once all writers are gone, and how it ended."""
        for descriptor in list(self._pipes):
            os.set_blocking(descriptor, False)
            while self._read(descriptor):
                pass
        self._write(END, json.dumps(report).encode())

    def _read(self, descriptor: int) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        kind = self._pipes[descriptor]
        if not data:
            self._poll.unregister(descriptor)
            del self._pipes[descriptor]
            return False
        account = EVENTS if kind == EVENTS else STDOUT
        self._left[account] -= len(data)
        if self._left[account] >= -CHUNK_BYTES:  # one chunk more, by which the reader sees it as well
            self._write(kind, data)
        if self._left[STDOUT] < 0:
            self.is_over_limit = True
        return True

    def _write(self, kind: str, data: bytes) -> None:
        now = self._clock()
        stale = CPU_SECONDS / 5 if any(word in data for word in _TELLING) else CPU_SECONDS
        if kind == EVENTS and now - self._cpu_time > stale:
            self._cpu, self._cpu_time = self._meter.seconds(), now
        view = memoryview(Frame(kind, now, self._cpu, data).to_bytes())
        try:
            while view and not self.is_broken:
                view = view[os.write(self._file, view) :]
        except OSError:  # a full disk: what follows a torn frame could not be read
            self.is_broken = True
