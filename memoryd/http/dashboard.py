"""The page at `/`: what the store holds, how it lives, and a place to search it."""

from __future__ import annotations

import html
from importlib.resources import files

from memoryd.engine import Engine


def badge(rows: int, dreams: int) -> str:
    """fresh, loaded or active, as ferricula's page has it."""
    if rows <= 1:
        return "fresh"
    return "active" if dreams else "loaded"


def dashboard_page(engine: Engine) -> str:
    """The HTML page; it fetches what changes by itself."""
    page = files("memoryd.http").joinpath("dashboard.html").read_text(encoding="utf-8")
    mirror = engine.store.mirror
    fields = {
        "name": engine.name,
        "badge": badge(len(mirror), engine.clock_state.dreams),
        "embedder": engine.embedder.name,
    }
    for name, value in fields.items():
        page = page.replace("{{" + name + "}}", html.escape(value))
    return page
