"""What reaches the terminal: colour and bars only where a person looks, JSON where a program reads."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping

from rich.console import Console

PIPE_WIDTH = 120
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def open_console(*, stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR and writes plain text of fixed width where it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False)


def print_text(console: Console, text: str, style: str = "") -> None:
    """One line; in a pipe it is never folded."""
    console.print(text, style=style or None, soft_wrap=not console.is_terminal)


def print_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout, flushed."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, sort_keys=False) + "\n")
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """One plain line on stdout, flushed."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_error(text: str) -> None:
    """One line on stderr that begins with "error: "."""
    sys.stderr.write(f"error: {one_line(text)}\n")


def print_note(text: str) -> None:
    """One line on stderr for a person; stdout stays for results."""
    sys.stderr.write(f"{one_line(text)}\n")
    sys.stderr.flush()


def one_line(text: str) -> str:
    """Text from elsewhere without line breaks, escape sequences or direction marks."""
    return _CONTROL.sub("", " ".join(text.split()))
