"""The pages stay true: links lead somewhere, quoted messages are said, named files exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
SOURCES = [
    path
    for name in ("services", "entropyd", "memoryd", "trainer", "agent")
    for path in (ROOT / name).rglob("*.py")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:agent|memoryd|entropyd|trainer|services|tests|docs|proto|\.ci)/[\w./-]+)`", text
    )
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


def said() -> list[str]:
    """Every text of the product; a value inside it is shown as …"""
    texts = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(
                        str(getattr(part, "value", "…")) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_the_messages_that_the_troubleshooting_page_quotes_are_said() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").partition("## Links")[0]
    symptoms = "\n".join(re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE))
    quoted = [
        piece.strip()
        for quote in re.findall(r"`([^`]+)`", symptoms)
        for piece in re.split("…|127.0.0.1:50051", quote)
    ]
    pieces = [piece for piece in quoted if len(piece) > 7]
    texts = said()
    assert len(pieces) > 10
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []
