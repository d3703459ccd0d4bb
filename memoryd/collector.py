"""Keeps Python's garbage collector from stopping requests while a large store is loaded or changed.

A full collection visits every object of the store: hundreds of milliseconds at 100,000 memories. The store
holds no reference cycles, so nothing is lost by setting its objects aside (`gc.freeze`): they are still
freed as soon as the last reference goes.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """No collection inside; afterwards all objects that are alive are set aside."""
    was_enabled = gc.isenabled()
    gc.collect(0)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
