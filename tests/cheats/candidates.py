"""Reads the red-team corpus: one file a candidate, its expectation in the comments at its top.

`# expect: STATE REASON` (for honest ones SUCCEEDED is meant); `# base: template` appends the file to the
template with the tiny preset; `# set:` changes hyperparameters; `# budget:` and `# wall:` change the request;
`# scores: worse` says that it succeeds with less than the unchanged template, where otherwise it is the same.
`@NAME@` is replaced by what the test knows.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch.trainer.v1 import trainer_pb2 as pb

from trainer.presets import PRESETS
from trainer.templates import research_file

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Candidate:
    name: str
    head: Mapping[str, str]
    text: str

    @property
    def expected(self) -> list[str]:
        return self.head.get("expect", "SUCCEEDED").split()

    @property
    def needs_template(self) -> bool:
        return self.head.get("base") == "template"

    def source(self, known: Mapping[str, str]) -> str:
        """The train.py to submit."""
        text = self.text
        for name, value in known.items():
            text = text.replace(f"@{name}@", value)
        if not self.needs_template:
            return text
        values = dict(PRESETS["tiny"].hyperparameters)
        for change in re.findall(r"(\w+)=([^=]+?)(?:, (?=\w+=)|$)", self.head.get("set", "")):
            values[change[0]] = ast.literal_eval(change[1])
        preset = replace(PRESETS["tiny"], hyperparameters=values)
        return research_file(preset) + "\n\n" + text


def read_candidates(kind: str) -> list[Candidate]:
    """All files of a folder, by name."""
    found = []
    for path in sorted((FOLDER / kind).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        head = dict(re.findall(r"^# (\w+): (.+)$", text, re.MULTILINE))
        found.append(Candidate(path.stem, head, text))
    return found


def outcome_of(experiment: pb.Experiment) -> list[str]:
    """STATE for a success; FAILED REASON, or AUDIT_FAILED FINDING, or BAD_CHECKPOINT for a failure."""
    if experiment.state == pb.EXPERIMENT_STATE_SUCCEEDED:
        return ["SUCCEEDED"]
    reason = pb.FailureReason.Name(experiment.result.failure_reason).removeprefix("FAILURE_REASON_")
    if reason == "AUDIT_FAILED":
        return [reason, experiment.result.failure_message.partition(":")[0]]
    return [reason] if reason == "BAD_CHECKPOINT" else ["FAILED", reason]
