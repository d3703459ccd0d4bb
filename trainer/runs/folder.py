"""The folder of one run: what the daemon writes, what the candidate may write, what stays afterwards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """train.py, run.json, log.txt and metrics.jsonl are the daemon's; scratch and out the candidate's."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "train.py"

    @property
    def run_spec(self) -> Path:
        return self.root / "run.json"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def record(self) -> Path:
        """All that the candidate says, until the run has been judged."""
        return self.root / "record"

    @property
    def plan(self) -> Path:
        """How the training process was started."""
        return self.root / "plan.json"

    @property
    def owner(self) -> Path:
        """Which daemon looks after the run."""
        return self.root / "owner"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def compile_cache(self) -> Path:
        """Where the candidate's environment has its caches; see candidate_environment."""
        return self.scratch / "compile-cache"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation"

    @property
    def _passing(self) -> tuple[Path, ...]:
        return (self.scratch, self.root / "scratch.package", self.out, self.evaluation)

    def create(self, source: str) -> None:
        """Makes the folder anew. Raises OSError."""
        self.record.unlink(missing_ok=True)
        for path in (*self._passing, self.checkpoint):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.scratch, self.out, self.evaluation):
            path.mkdir(parents=True)
        self.source.write_text(source, encoding="utf-8")

    def renew_evaluation(self) -> None:
        """Makes the evaluator's folder anew. Raises OSError."""
        shutil.rmtree(self.evaluation, ignore_errors=True)
        self.evaluation.mkdir(parents=True)

    def tidy(self, *, keep_checkpoint: bool) -> None:
        """Removes what is of no use once the run has ended; the record first, so that what is half removed
        is not taken for a run that can be adopted."""
        self.record.unlink(missing_ok=True)
        for path in self._passing:
            shutil.rmtree(path, ignore_errors=True)
        if not keep_checkpoint:
            shutil.rmtree(self.checkpoint, ignore_errors=True)
        for name in ("plan.json", "evaluator-plan.json", "owner"):
            (self.root / name).unlink(missing_ok=True)
