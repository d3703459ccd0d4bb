"""One draw with its receipt: what both APIs call, so that nothing leaves without an account."""

from __future__ import annotations

from dataclasses import dataclass

from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Draw, Policy, PoolKind
from entropyd.records.receipts import Receipt, Signer
from entropyd.records.state_store import StateStore


@dataclass(frozen=True)
class ReceiptOffice:
    """Draws, signs, and appends the receipt to the chain."""

    dispenser: Dispenser
    store: StateStore
    signer: Signer

    def draw(
        self, byte_count: int, pool: PoolKind, policy: Policy, *, purpose: str, secret: bool
    ) -> tuple[Draw, Receipt]:
        """As Dispenser.draw."""
        return self._sign(self.dispenser.draw(byte_count, pool, policy), purpose, secret)

    def draw_available(self, byte_count: int, policy: Policy, *, purpose: str) -> Draw:
        """As Dispenser.draw_available; the receipt holds the hash only. Nothing drawn, no receipt."""
        draw = self.dispenser.draw_available(byte_count, policy)
        if draw.data:
            self._sign(draw, purpose, True)
        return draw

    def _sign(self, draw: Draw, purpose: str, secret: bool) -> tuple[Draw, Receipt]:
        receipt = self.signer.sign(
            draw, previous_hash=self.store.last_receipt_hash, purpose=purpose, secret=secret
        )
        self.store.add_receipt(receipt)
        return draw, receipt
