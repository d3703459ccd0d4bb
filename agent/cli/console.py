"""What reaches the terminal: colour and bars only where a person looks, JSON where a program reads."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Mapping

from rich.console import Console

PIPE_WIDTH = 120
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class _Console(Console):
    """Leaves it to the command what a reader that went away means; rich's own answer is SystemExit."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def open_console(*, stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR and writes plain text of fixed width where it is not a terminal.

    Its methods raise BrokenPipeError where the reader of the stream is gone.
    """
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return _Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def tolerate_any_text() -> None:
    """What the terminal's encoding lacks is written as an escape (`\\xb1`) and is no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_text(console: Console, text: str, style: str = "", *, fold: bool = True) -> None:
    """One line; in a pipe, and where it is to be copied, it is never folded."""
    console.print(text, style=style or None, soft_wrap=not (fold and console.is_terminal))


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout, flushed."""
    escape = not (sys.stdout.encoding or "").lower().startswith("utf")  # a program reads it: \uXXXX is JSON
    sys.stdout.write(json.dumps(value, ensure_ascii=escape, sort_keys=False) + "\n")
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """One plain line on stdout, flushed."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_error(text: str) -> None:
    """One line on stderr that begins with "error: "."""
    print_note(f"error: {text}")


def print_note(text: str) -> None:
    """One line on stderr for a person; stdout stays for results. No error where nobody reads it."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{one_line(text)}\n")
        sys.stderr.flush()


def one_line(text: str) -> str:
    """Text from elsewhere without line breaks, escape sequences or direction marks."""
    return _CONTROL.sub("", " ".join(text.split()))
