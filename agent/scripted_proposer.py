"""A proposer that follows a script: for demonstrations, for tests, and to replay somebody's ideas.

The script is JSON Lines, or one JSON array, of drafts:

    {"description": "deeper", "changes": {"DEPTH": 6}}
    {"description": "no value embeddings", "section": "model", "code": "..."}
    {"description": "this very file", "source": "..."}
    {"fault": "garbage"}

Proposal number n takes draft n, so that a resumed session goes on where it was. `fault` plays a brain that
fails: "garbage" (a draft that is none), "unavailable" (its service is gone), "stop" (nothing more to say).
A script of entries with "text" or "calls" plays a language model instead (agent/llm/scripted_provider.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.proposer import Draft, Proposer, ResearchContext, Trial
from agent.search.hyperparameters import changed_values, edits_code, set_values
from agent.search.sections import replace_section
from services.errors import InvalidArgumentError, UnavailableError

NAMES = frozenset({"description", "changes", "section", "code", "source", "fault"})
TURN_NAMES = frozenset(
    {"text", "calls", "end", "fault", "retry_after", "input_tokens", "cached_input_tokens", "output_tokens"}
)


class ScriptedProposer:
    """Plays the drafts in order, then has nothing more to try."""

    name = "scripted"

    def __init__(self, drafts: list[dict[str, Any]]) -> None:
        self._drafts = drafts

    async def check(self) -> None:
        """There is nothing to ask."""

    async def propose(self, context: ResearchContext) -> Draft | None:
        if context.next_number > len(self._drafts):
            return None
        return make_draft(context.source, self._drafts[context.next_number - 1])

    async def learn(self, trial: Trial) -> None:
        """A script learns nothing."""

    async def close(self) -> None:
        """Holds nothing."""


def read_script(path: Path) -> list[dict[str, Any]]:
    """The drafts of a script. Raises InvalidArgumentError that names the line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidArgumentError(f"script: cannot read {path}: {why}", field="script") from error
    try:
        if text.lstrip().startswith("["):
            drafts = json.loads(text)
        else:
            drafts = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise InvalidArgumentError(f"script: {path} is not JSON Lines: {error}", field="script") from error
    for number, draft in enumerate(drafts, 1):
        unknown = set(draft) - NAMES - TURN_NAMES if isinstance(draft, dict) else None
        if unknown is None or unknown:
            shown = ", ".join(sorted(unknown or ())) or json.dumps(draft)[:60]
            known = ", ".join(sorted(NAMES | TURN_NAMES))
            raise InvalidArgumentError(
                f"script: draft {number} of {path} has {shown}; known are {known}", field="script"
            )
    return list(drafts)


def plays_model(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a script holds the turns of a language model (agent/llm/scripted_provider.py), not drafts."""
    return any("calls" in entry or "text" in entry for entry in entries)


def make_draft(source: str, entry: Mapping[str, Any]) -> Draft | None:
    """The draft that an entry makes of the incumbent. Raises InvalidArgumentError, UnavailableError."""
    match entry.get("fault"):
        case None:
            pass
        case "stop":
            return None
        case "unavailable":
            raise UnavailableError("scripted: the service behind the proposer is gone")
        case fault:
            raise InvalidArgumentError(f"scripted fault: {fault}", field="draft")
    edited = str(entry.get("source", source))
    if "section" in entry:
        edited = replace_section(edited, str(entry["section"]), str(entry.get("code", "")))
    if "changes" in entry:
        edited = set_values(edited, entry["changes"])
    try:
        changes: Mapping[str, object] = changed_values(source, edited)
    except InvalidArgumentError:  # a file that does not parse is run as it is: the trainer says what it is
        changes = {}
    return Draft(
        source=edited,
        description=str(entry.get("description") or "scripted draft"),
        changes=changes,
        edits_code=edits_code(source, edited),
    )


_: type[Proposer] = ScriptedProposer
