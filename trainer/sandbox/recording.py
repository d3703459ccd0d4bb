"""The record of a run: all that a candidate says, with the time at which it was said.

The supervisor writes it to a file; the daemon reads it while it grows, and so does the next daemon where
the first one ended. A frame is one line `KIND TIME CPU LENGTH` and LENGTH bytes. The first one (begin) tells
which process writes, the last one (end) how the tree ended. Times are the machine's monotonic seconds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

LOST = "lost"  # stands in no record: what a reader makes of one that has no end
BEGIN, END, STDOUT, STDERR, EVENTS = "begin", "end", "stdout", "stderr", "events"
KINDS = (BEGIN, END, STDOUT, STDERR, EVENTS)
LONGEST_HEAD = 100
EVENTS_FD = 60  # the descriptor on which a recorded candidate finds its event pipe


@dataclass(frozen=True)
class Frame:
    """cpu_seconds is what the whole tree had used by then."""

    kind: str
    time: float
    cpu_seconds: float
    data: bytes

    def to_bytes(self) -> bytes:
        head = f"{self.kind} {self.time:.6f} {self.cpu_seconds:.3f} {len(self.data)}\n"
        return head.encode() + self.data


def parse_frames(data: bytes) -> tuple[list[Frame], int]:
    """The whole frames at the beginning of some bytes, and how many bytes they take.

    Raises ValueError for what no supervisor wrote."""
    frames, position = [], 0
    while (line_end := data.find(b"\n", position, position + LONGEST_HEAD)) >= 0:
        kind, time, cpu, length = data[position:line_end].decode("ascii").split(" ")
        first, last = line_end + 1, line_end + 1 + int(length)
        if kind not in KINDS:
            raise ValueError(f"no frame is of the kind {kind}")
        if last > len(data):
            break
        frames.append(Frame(kind, float(time), float(cpu), data[first:last]))
        position = last
    if line_end < 0 and len(data) - position >= LONGEST_HEAD:
        raise ValueError("the record is damaged")
    return frames, position


@dataclass(frozen=True)
class Identity:
    """One process of this machine: its number comes again, the time of its start and the boot do not."""

    pid: int
    start: str
    boot: str

    def is_alive(self) -> bool:
        return identify(self.pid) == self

    def __str__(self) -> str:
        return f"{self.pid} {self.start} {self.boot}"


def identify(pid: int) -> Identity | None:
    """The identity of a living process; None for one that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else Identity(pid, fields[19].decode(), boot)


def parse_identity(text: str) -> Identity | None:
    """What str() of an identity gave; None for anything else."""
    parts = text.split()
    return Identity(int(parts[0]), parts[1], parts[2]) if len(parts) == 3 and parts[0].isdecimal() else None


def read_identity(path: str) -> Identity | None:
    """The identity in a file; None where there is none."""
    try:
        with open(path, encoding="ascii") as stream:
            return parse_identity(stream.read(200))
    except (OSError, ValueError):
        return None


def write_owner(path: str) -> None:
    """States that this process looks after a run. Raises OSError."""
    with open(f"{path}.new", "w", encoding="ascii") as stream:
        stream.write(str(identify(os.getpid())))
    os.replace(f"{path}.new", path)
