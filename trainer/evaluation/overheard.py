"""What a scored process prints: passed on until it is asked anything, thrown away from then on.

It has seen validation rows by then, and whoever reads the log writes the next candidate.
"""

from __future__ import annotations

import os
import select
import threading
import time

PATIENCE_SECONDS = 0.5


class Overheard:
    """`descriptor` is where the process writes to; what comes there goes to `target` until mute()."""

    def __init__(self, target: int) -> None:
        self._source, self.descriptor = os.pipe()
        self._target, self._muted = target, False
        self._passing_on = threading.Lock()  # held from the reading of a piece until it has been passed on
        self._thread = threading.Thread(target=self._listen, name="overheard", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Closes this process's own end for writing, once the process has it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def mute(self) -> None:
        """To be called before the first question: what was printed before it is still passed on."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._muted and time.monotonic() < deadline:
            if self._passing_on.acquire(timeout=PATIENCE_SECONDS):
                self._muted = not _is_readable(self._source)
                self._passing_on.release()
            time.sleep(0 if self._muted else 0.001)
        self._muted = True

    def close(self) -> None:
        """Once the process has ended: waits until all has been passed on."""
        self.release()
        self._thread.join(PATIENCE_SECONDS)

    def _listen(self) -> None:
        with os.fdopen(self._source, "rb", buffering=0) as source:
            while True:
                _wait_readable(self._source)
                with self._passing_on:
                    data = source.read(65_536)
                    if not data:
                        return
                    self._pass_on(b"" if self._muted else data)

    def _pass_on(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._target, view) :]
        except OSError:
            self._muted = True  # nobody reads it


def _wait_readable(descriptor: int) -> None:
    if os.name == "posix":
        _poll(descriptor, None)


def _is_readable(descriptor: int) -> bool:
    """Elsewhere a pipe cannot be asked, and nothing is said to be in it."""
    return os.name == "posix" and _poll(descriptor, 0)


def _poll(descriptor: int, milliseconds: int | None) -> bool:
    """Whether there is something to read."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return any(found & select.POLLIN for _, found in poller.poll(milliseconds))
