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
        while not self._muted and self._is_behind() and time.monotonic() < deadline:
            time.sleep(0.001)
        self._muted = True

    def close(self) -> None:
        """Once the process has ended: waits until all has been passed on."""
        self.release()
        self._thread.join(PATIENCE_SECONDS)

    def _is_behind(self) -> bool:
        return os.name == "posix" and self._thread.is_alive() and _is_readable(self._source)

    def _listen(self) -> None:
        with os.fdopen(self._source, "rb", buffering=0) as source:
            while data := source.read(65_536):
                view = memoryview(b"" if self._muted else data)
                try:
                    while view:
                        view = view[os.write(self._target, view) :]
                except OSError:
                    self._muted = True  # nobody reads it


def _is_readable(descriptor: int) -> bool:
    try:
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):
        return False  # it has ended
