"""The best model so far, as files in `best/` of the lab: weights, configuration, tokenizer, train.py."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from pathlib import Path

from agent.lab.workspace import SOURCE_NAME
from agent.ledger.ledger import Ledger
from agent.ledger.records import RunKind, RunRecord
from services.errors import ServiceError
from services.trainer_client import TrainerClient

FOLDER = "best"
CARD = "champion.json"
UNWANTED = frozenset({"log", "metrics", SOURCE_NAME})
log = logging.getLogger(__name__)


class Champion:
    """Keeps `best/` equal to the incumbent's best run."""

    def __init__(self, ledger: Ledger, session_id: str, lab: Path, client: TrainerClient) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._lab = lab
        self._client = client
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> bool:
        """Fetches the incumbent's artifacts if `best/` holds others; False where the trainer has none.

        One call at a time: two keeps that follow fast must not mix their files.
        """
        async with self._refreshing:
            return await self._refresh()

    async def _refresh(self) -> bool:
        run = self.best_run()
        if run is None:
            return False
        card = {
            "experiment_id": run.experiment_id,
            "proposal": run.number,
            "val_bpb": run.val_bpb,
            "commit": self._ledger.session(self._session_id).tip_commit,
            "preset": self._ledger.session(self._session_id).setup.preset,
        }
        folder = self._lab / FOLDER
        if _read(folder / CARD) == card:
            return True
        fresh = self._lab / ".autoresearch" / "best.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            experiment = await self._client.get(run.experiment_id)
            for name in sorted(set(experiment.result.artifacts) - UNWANTED):
                await self._fetch(run.experiment_id, name, fresh / Path(name).name)
        except ServiceError as error:
            log.warning("the champion's files could not be fetched", extra={"why": error.message})
            shutil.rmtree(fresh, ignore_errors=True)
            return False
        source = self._ledger.text(run.source_hash)
        (fresh / SOURCE_NAME).write_text(source, encoding="utf-8", newline="")
        (fresh / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(fresh, folder)
        return True

    def best_run(self) -> RunRecord | None:
        """The lowest-scoring run among those that made the incumbent, its re-measurements apart."""
        tip = self._ledger.session(self._session_id).tip_source_hash
        runs = self._ledger.runs.usable_of_source(self._session_id, tip)
        scored = [run for run in runs if run.val_bpb is not None and run.kind is not RunKind.INCUMBENT]
        return min(scored, key=lambda run: run.val_bpb or 0.0, default=None)

    async def _fetch(self, experiment_id: str, name: str, target: Path) -> None:
        with target.open("wb") as file:
            async for chunk in self._client.fetch_artifact(experiment_id, name):
                file.write(chunk.data)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
