"""The flags of a lab's last `run`, so that `history` can say how to go on as well."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

FILE_NAME = "run-flags.json"
LONGEST = 4096


def remember_flags(state: Path, tag: str, flags: str) -> None:
    """Keeps the text of `flags_again` for a tag. A folder that cannot be written is left to the session."""
    if not state.is_dir():
        return
    known = {name: text for name, text in _read(state).items() if name != tag}
    part = state / f"{FILE_NAME}.{os.getpid()}.part"
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(known | {tag: flags}, indent=1) + "\n", encoding="utf-8")
        part.replace(state / FILE_NAME)


def remembered_flags(state: Path, tag: str) -> str:
    """What was kept; "" where nothing was, or where it is no longer one line of text."""
    text = _read(state).get(tag, "")
    return text if text.isprintable() and len(text) <= LONGEST else ""


def remembered_data(state: Path) -> Path | None:
    """The folder of data that the last run named, of any tag; None where there is none any more."""
    for text in reversed(_read(state).values()):
        with contextlib.suppress(ValueError):
            words = shlex.split(text)
            folder = Path(words[words.index("--data") + 1]) if "--data" in words[:-1] else None
            if folder is not None and folder.is_dir():
                return folder
    return None


def without_password(url: str) -> str:
    """A database's address as it may stand in a file; PGPASSWORD and ~/.pgpass give the rest."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.password:
        return url
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{place}"))


def _read(state: Path) -> dict[str, str]:
    try:
        found = json.loads((state / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): text for name, text in found.items() if isinstance(text, str)}
