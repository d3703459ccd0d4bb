"""Seeds of a session: drawn and committed by entropyd before the first run, revealed one at a time.

Without entropyd the operating system gives them, and every record says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import Awaitable, Callable

from autoresearch.entropy.v1 import entropy_pb2 as pb

from agent.ledger.ledger import Ledger
from agent.ledger.records import SeedRecord
from services.entropy_client import EntropyClient
from services.errors import DeadlineExceededError, ServiceError, UnavailableError

SEEDS_PER_PACK = 4096
SOURCE_NAMES = {
    pb.SOURCE_RADIO: "radio",
    pb.SOURCE_OS: "os",
    pb.SOURCE_FILE: "file",
    pb.SOURCE_REMOTE: "remote",
}
LOCAL_PACK = "local"
log = logging.getLogger(__name__)


class SessionSeeds:
    """Gives seed number `index` of a session; the same index always gives the same seed.

    `warn` is told once when the operating system has to stand in for entropyd.
    """

    def __init__(
        self,
        ledger: Ledger,
        session_id: str,
        client: EntropyClient | None,
        *,
        warn: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        patience: float = 10.0,
    ) -> None:
        self._ledger = ledger
        self._session_id = session_id
        self._client = client
        self._warn = warn
        self._sleep = sleep
        self._patience = patience
        self._packs: dict[str, pb.SeedPack] = {}

    async def get(self, index: int) -> SeedRecord:
        """The seed of that index, revealed now if it has not been before. Written before it is returned."""
        known = self._ledger.runs.seed(self._session_id, index)
        if known is not None:
            return known
        seed = await self._reveal(index)
        self._ledger.runs.put_seed(self._session_id, seed)
        return seed

    async def _reveal(self, index: int) -> SeedRecord:
        if self._client is not None:
            try:
                return await self._patiently(self._client, index)
            except ServiceError as error:
                self._client = None
                self._warn(
                    f"entropyd gives no seeds ({error.message}): the operating system's generator stands in, "
                    "and the records say so"
                )
        value = int.from_bytes(os.urandom(8)) >> 1
        position = self._ledger.runs.seeds_of_pack(self._session_id, LOCAL_PACK)
        return SeedRecord(index, value, LOCAL_PACK, position, "os", "")

    async def _patiently(self, client: EntropyClient, index: int) -> SeedRecord:
        waited, pause = 0.0, 0.2
        while True:
            try:
                return await self._from_pack(client, index)
            except (UnavailableError, DeadlineExceededError):
                if waited >= self._patience:
                    raise
                await self._sleep(pause)
                waited, pause = waited + pause, min(pause * 2, 2.0)

    async def _from_pack(self, client: EntropyClient, index: int) -> SeedRecord:
        for number in range(1000):
            pack_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._session_id}/{number}"))
            used = self._ledger.runs.seeds_of_pack(self._session_id, pack_id)
            if used < SEEDS_PER_PACK:
                break
        pack = self._packs.get(pack_id)
        if pack is None:
            pack = await client.commit_seed_pack(pack_id, self._session_id, SEEDS_PER_PACK)
            self._packs = {pack_id: pack}
        seed = (await client.reveal_seeds(pack_id, self._session_id, used, 1))[0]
        source = SOURCE_NAMES.get(pack.provenance.source, "os")
        return SeedRecord(index, seed.value, pack_id, used, source, pack.receipt.statement)
