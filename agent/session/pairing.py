"""Both runs of one pair: one after the other, or at once where the trainer has a device for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from autoresearch.trainer.v1 import trainer_pb2 as pb

from agent.judging.observatory import FAULTS
from agent.ledger.ledger import Ledger
from agent.ledger.records import ProposalRecord, RunKind, RunRecord
from agent.session.measuring import Measuring, Place
from services.errors import ServiceError
from services.trainer_client import TrainerClient

log = logging.getLogger(__name__)


class Pairing:
    """Measures the pairs of one session's proposals.

    Only devices of the session's own class count: scores of two classes never meet in a pair, and the
    trainer is asked for that class by name.
    """

    def __init__(self, ledger: Ledger, session_id: str, measuring: Measuring, trainer: TrainerClient) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._measuring = measuring
        self._trainer = trainer
        self._devices = 0

    async def measure(
        self, proposal: ProposalRecord, position: int, seed: int
    ) -> tuple[RunRecord, RunRecord | None]:
        """The candidate's run and the incumbent's; None in place of one that a failed candidate spared.

        Beside a candidate that fails, the incumbent's run is still finished: it serves later proposals.
        Raises TrainerLost and TrainerRefused; then neither runs any more.
        """
        candidate = self._measuring.measure(
            Place(proposal.number, RunKind.CANDIDATE, position), proposal.source_hash, seed
        )
        place = Place(proposal.number, RunKind.INCUMBENT, position)
        if await self._device_count() > 1:
            await self._measuring.reveal(seed)
            incumbent = self._measuring.incumbent(place, proposal.parent_source_hash, seed)
            return await _together(candidate, incumbent)
        first = await candidate
        if first.failure_reason or first.val_bpb is None:
            return first, None
        return first, await self._measuring.incumbent(place, proposal.parent_source_hash, seed)

    async def prove_incumbent(
        self, proposal: ProposalRecord, failed: RunRecord, position: int, seed: int
    ) -> None:
        """Beside a failed candidate: that its incumbent runs, which a person's commit may not, and which
        nothing may on a machine at fault (a full disk, a lost device).

        Raises TrainerRefused where it does not: the fault is then no candidate's, and each would show it.
        """
        source = proposal.parent_source_hash
        place = Place(proposal.number, RunKind.INCUMBENT, position)
        if failed.failure_reason in FAULTS:
            await self._measuring.measure(place, source, seed)
            return
        known = self._ledger.runs.usable_of_source(self._session_id, source)
        if all(run.val_bpb is None for run in known):
            await self._measuring.incumbent(place, source, seed)

    async def _device_count(self) -> int:
        if not self._devices:
            try:
                capabilities = await self._trainer.capabilities(timeout=10.0)
            except ServiceError as error:
                log.info("the trainer's devices are not known yet", extra={"why": error.message})
                return 1
            wanted = self._ledger.session(self._session_id).setup.device_class
            self._devices = max(1, devices_of_class(capabilities.devices, wanted))
        return self._devices


def devices_of_class(devices: Iterable[pb.Device], device_class: str) -> int:
    """How many devices are of that class; none for a class that is not known yet."""
    return sum(bool(device_class) and device.device_class == device_class for device in devices)


async def _together(
    candidate: Coroutine[Any, Any, RunRecord], incumbent: Coroutine[Any, Any, RunRecord]
) -> tuple[RunRecord, RunRecord]:
    tasks = [asyncio.create_task(candidate), asyncio.create_task(incumbent)]
    try:
        first, second = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return first, second
