"""One daemon for one state folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.errors import ConfigurationError


@contextmanager
def lock_state(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; it ends with the process. Raises ConfigurationError when another holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / "lock").open("a+b")
    except OSError as error:
        raise ConfigurationError(f"--state: cannot write to {folder}: {error.strerror}") from error
    with stream:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"--state: {folder} is in use by another trainerd; choose another"
            ) from error
        yield
