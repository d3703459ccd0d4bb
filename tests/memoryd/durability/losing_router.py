"""A router that loses answers: it cuts a connection just when the server has answered."""

from __future__ import annotations

import random

from tests.services.router import Link, Router


class LosingRouter(Router):
    """`share` of the answers are thrown away with their connection."""

    def __init__(self, target: str, share: float, *, seed: int = 1) -> None:
        super().__init__(target)
        self._share = share
        self._rng = random.Random(seed)
        self.lost = 0

    def passes(self, data: bytes, link: Link, *, from_client: bool) -> bool:
        if not from_client and self._rng.random() < self._share:
            self.lost += 1
            link.reset()
            return False
        return super().passes(data, link, from_client=from_client)
