"""What candidates print: bounded, sanitised, searched for a claim."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainer.runs.output import LONGEST_LINE, OutputCollector, sanitise


def collect(folder: Path, data: bytes, limit: int = 1 << 20) -> tuple[OutputCollector, list[str], int]:
    lines: list[str] = []
    overruns = [0]

    def over() -> None:
        overruns[0] += 1

    async def read() -> OutputCollector:
        collector = OutputCollector(folder / "log.txt", limit, lambda stream, text: lines.append(text), over)
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        await collector.read("stdout", stream)
        collector.close()
        return collector

    return asyncio.run(read()), lines, overruns[0]


@given(st.binary(max_size=5000))
def test_any_bytes_become_one_printable_line(raw: bytes) -> None:
    line = sanitise(raw)
    assert line.isprintable()
    assert len(line) <= LONGEST_LINE


def test_control_sequences_and_direction_marks_are_gone() -> None:
    raw = "\x1b[31mred\x1b[0m \x1b]0;title\x07after \u202eevil\x00\x08".encode()
    assert sanitise(raw) == "red after evil"


def test_the_claim_is_read_and_the_tail_is_short(tmp_path: Path) -> None:
    data = b"".join(b"line %d\n" % i for i in range(200)) + b"val_bpb:          0.123456\nend"
    collector, lines, _ = collect(tmp_path, data)
    assert collector.claimed_val_bpb == 0.123456
    assert len(collector.tail) == 50
    assert collector.tail[-1] == "end"
    assert len(lines) == 202


def test_progress_bars_with_carriage_returns_become_lines(tmp_path: Path) -> None:
    _, lines, _ = collect(tmp_path, b"10 %\r20 %\r30 %\r\n")
    assert lines == ["10 %", "20 %", "30 %"]


def test_a_flood_is_reported_once_and_read_to_its_end(tmp_path: Path) -> None:
    collector, lines, overruns = collect(tmp_path, b"x" * 100 + b"\n" * 10 + b"y" * 5_000_000, limit=200_000)
    assert overruns == 1
    assert collector.exceeded
    assert (tmp_path / "log.txt").stat().st_size < 300_000
    assert lines[0] == "x" * 100


def test_a_line_without_an_end_does_not_grow(tmp_path: Path) -> None:
    _, lines, _ = collect(tmp_path, b"z" * 500_000, limit=1 << 20)
    assert all(len(line) <= LONGEST_LINE for line in lines)
