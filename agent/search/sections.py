"""The named sections of a train.py, so that a tool can read or replace one of them.

A section begins at a line `# === SECTION: model ===` and ends before the next such line or at the end of
the file. What stands before the first marker (docstring, imports) belongs to no section.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from services.errors import InvalidArgumentError

LARGEST_FILE = 512 * 1024
_MARKER = re.compile(r"^# === SECTION: ([A-Za-z][A-Za-z0-9 _-]*?) ===[ \t]*$")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")


@dataclass(frozen=True)
class Section:
    """Lines of one section, counted from 1, marker line and last line included."""

    name: str
    first_line: int
    last_line: int


def list_sections(source: str) -> tuple[Section, ...]:
    """The sections in the order of the file. Raises InvalidArgumentError when a name occurs twice."""
    lines = _lines(source)
    marks = [(number, match[1]) for number, line in enumerate(lines, 1) if (match := _mark(line))]
    if not marks:
        return ()
    ends = [number - 1 for number, _ in marks[1:]] + [len(lines)]
    sections = tuple(Section(name, first, last) for (first, name), last in zip(marks, ends, strict=True))
    names = [section.name for section in sections]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidArgumentError(f"the section {twice!r} stands more than once", field="source")
    return sections


def find_section(source: str, name: str) -> Section | None:
    """The section of that name (case and underscores do not matter), or None."""
    wanted = _normal(name)
    return next((section for section in list_sections(source) if _normal(section.name) == wanted), None)


def read_section(source: str, name: str) -> str:
    """The text of a section without its marker line. Raises InvalidArgumentError (field `section`)."""
    section = _require(source, name)
    return "".join(_lines(source)[section.first_line : section.last_line])


def replace_section(source: str, name: str, text: str) -> str:
    """The file with the section's text replaced; marker lines stay.

    `text` may begin with its own marker line. Raises InvalidArgumentError: field `section` for an unknown
    name, field `code` when the text holds other markers or the whole file no longer compiles.
    """
    section = _require(source, name)
    lines = _lines(source)
    body = _lines(text)
    first = next((index for index, line in enumerate(body) if line.strip()), 0)
    if body and (match := _mark(body[first])) and _normal(match[1]) == _normal(name):
        body = body[first + 1 :]
    others = [match[1] for line in body if (match := _mark(line))]
    if others:
        message = f"the code holds the marker of section {others[0]!r}: send one section at a time"
        raise InvalidArgumentError(message, field="code")
    if body and not body[-1].endswith(("\n", "\r")):
        body[-1] += "\n"
    head, tail = lines[: section.first_line], lines[section.last_line :]
    if head and not head[-1].endswith(("\n", "\r")):
        head[-1] += "\n"
    if tail and (not body or body[-1].strip()):
        body.append("\n")
    result = "".join([*head, *body, *tail])
    check_source(result)
    return result


def check_source(source: str) -> None:
    """Raises InvalidArgumentError (field `code`) with the line when the file is not Python or too large."""
    if len(source.encode(errors="surrogatepass")) > LARGEST_FILE:
        raise InvalidArgumentError(f"train.py would be larger than {LARGEST_FILE // 1024} KiB", field="code")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A candidate's SyntaxWarning is not ours to print.
            compile(source, "train.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()[:80]
        raise InvalidArgumentError(
            f"train.py would not compile: {error.msg} at line {error.lineno}: {line}", field="code"
        ) from error
    except (ValueError, RecursionError, MemoryError, UnicodeError, OverflowError) as error:
        raise InvalidArgumentError(f"train.py would not compile: {error}", field="code") from error


def _require(source: str, name: str) -> Section:
    section = find_section(source, name)
    if section is None:
        known = ", ".join(section.name for section in list_sections(source)) or "none"
        raise InvalidArgumentError(f"train.py has no section {name!r}; it has: {known}", field="section")
    return section


def _lines(source: str) -> list[str]:
    return [line for line in _LINE.findall(source) if line]


def _mark(line: str) -> re.Match[str] | None:
    return _MARKER.match(line.rstrip("\r\n"))


def _normal(name: str) -> str:
    return re.sub(r"[ _-]+", " ", name.strip().lower())
