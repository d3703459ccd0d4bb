"""What a candidate prints: bounded, sanitised, kept in a file, with the last lines at hand."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

LONGEST_LINE = 2_000
TAIL_LINES = 50
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_CLAIM = re.compile(r"^val_bpb:\s*([0-9]+\.[0-9]+)\s*$")


def sanitise(raw: bytes) -> str:
    """One printable line of at most LONGEST_LINE characters: no escapes, no controls, no direction marks."""
    text = _ESCAPES.sub("", raw[: 4 * LONGEST_LINE].decode("utf-8", "replace")).replace("\t", " ")
    if not text.isprintable():  # rarely: going through the characters is what costs in a flood
        text = "".join(filter(str.isprintable, text))
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def printable(text: str) -> str:
    """The same of a text, whose lone surrogates no wire format holds."""
    return sanitise(text.encode("utf-8", "replace"))


class OutputCollector:
    """Takes the lines of several streams. `over_limit` is called once, when more was printed than allowed."""

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        on_line: Callable[[str, str], None],
        over_limit: Callable[[], None],
    ) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.claimed_val_bpb: float | None = None
        self.exceeded = False
        self._file = path.open("w", encoding="utf-8")
        self._left = limit_bytes
        self._rests: dict[str, bytes] = {}
        self._on_line, self._over_limit = on_line, over_limit

    async def read(self, name: str, stream: asyncio.StreamReader) -> None:
        """Reads a stream to its end. Raises OSError where its lines could not be written, then as well: who
        prints them would otherwise wait for ever."""
        unwritten: OSError | None = None
        while chunk := await stream.read(65_536):
            try:
                self.feed(name, chunk)
            except OSError as error:
                unwritten = error
        if unwritten is not None:
            raise unwritten
        self.finish()

    def feed(self, name: str, chunk: bytes) -> None:
        """Takes what a stream gave; beyond the limit it is thrown away."""
        self._left -= len(chunk)
        if self._left < 0:
            if not self.exceeded:
                self.exceeded = True
                self._over_limit()
            return
        *lines, rest = re.split(rb"[\r\n]", self._rests.get(name, b"") + chunk)
        for line in lines:
            self._take(name, line)
        if len(rest) > 4 * LONGEST_LINE:
            self._take(name, rest)
            rest = b""
        self._rests[name] = rest

    def finish(self) -> None:
        """Takes last lines without an end."""
        for name, rest in self._rests.items():
            self._take(name, rest)
        self._rests.clear()

    def close(self) -> None:
        """Raises OSError where what is left cannot be written."""
        self._file.close()

    def _take(self, name: str, raw: bytes) -> None:
        line = sanitise(raw)
        if not line.strip():
            return
        if name == "stdout" and (claim := _CLAIM.match(line)):
            self.claimed_val_bpb = float(claim[1])
        self.tail.append(line)
        self._file.write(f"{name}: {line}\n")
        self._on_line(name, line)
