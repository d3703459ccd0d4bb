"""How a dream tells of itself: ferricula's layout, to the character."""

from __future__ import annotations

import re
from collections.abc import Iterable

from memoryd.characters import one_line
from memoryd.dreams.plan import DreamReport


def dream_text(report: DreamReport) -> str:
    skg = report.skg
    emerging = _list(f"{_term(first)}~{_term(second)}" for first, second in skg.emerging)
    decaying = _list(f"{_term(first)}~{_term(second)}" for first, second in skg.decaying)
    return (
        f"dream complete:\n  ticks={report.ticks}\n  decayed={len(report.decayed_ids)}\n"
        f"  forgiven={len(report.forgiven_ids)}\n  archived={report.archived}\n"
        f"  consolidated={len(report.consolidated_ids)}\n  pruned={len(report.pruned_ids)}\n"
        f"  ghost_echoes={report.ghost_echoes}\n  keystones_reviewed={report.keystones_reviewed}\n"
        f"  edges_created={report.edges_created}\n  keystones_promoted={report.keystones_promoted}\n"
        f"  active_archetypes={_list(report.active_archetypes)}\n"
        f"  decayed_ids={_list(map(str, report.decayed_ids))}\n"
        f"  forgiven_ids={_list(map(str, report.forgiven_ids))}\n"
        f"  consolidated_ids={_list(map(str, report.consolidated_ids))}\n"
        f"  skg: sampled={skg.sampled} tracked={skg.tracked} emerging={emerging} decaying={decaying}"
    )


def offer_text(byte_count: int, report: DreamReport) -> str:
    head = f"offer accepted: {byte_count}B entropy, intensity={report.intensity:.2f}\n"
    return head + dream_text(report)


def _list(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


def _term(term: str) -> str:
    """A term without the characters that would break the lists it stands in."""
    return re.sub(r"[,\[\]~\s]+", "_", one_line(term))
