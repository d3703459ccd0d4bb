"""How much entropy may be claimed: NIST SP 800-90B's formula for a conditioner, and the running account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext

BLOCK_BITS = 256
BLOCK_BYTES = BLOCK_BITS // 8
MARGIN_BITS = 64  # SP 800-90C: full entropy needs an input of at least output + 64 bits
CREDIT_PER_BLOCK_BITS = BLOCK_BITS + MARGIN_BITS


class OverdrawnError(Exception):
    """A defect: more was taken out than the account allows."""


@dataclass
class Ledger:
    """credited_bits: entropy credited into closed blocks; blocks: closed conditioner blocks of 256 bits;
    out_bits: taken from them (served, used as seed, or dropped).

    At all times credited_bits − 64 · blocks ≥ out_bits.
    """

    credited_bits: float = 0.0
    blocks: int = 0
    out_bits: int = 0

    @property
    def available_bits(self) -> float:
        return self.credited_bits - MARGIN_BITS * self.blocks - self.out_bits

    def close_block(self, credited_bits: float) -> None:
        """Raises OverdrawnError for a block that was fed less than 320 credited bits."""
        if credited_bits < CREDIT_PER_BLOCK_BITS:
            raise OverdrawnError(f"a block of {credited_bits} credited bits; {CREDIT_PER_BLOCK_BITS} needed")
        self.credited_bits += credited_bits
        self.blocks += 1

    def take(self, bits: int) -> None:
        """Raises OverdrawnError, and changes nothing, when so much is not there."""
        if bits > self.available_bits:
            raise OverdrawnError(f"{bits} bits asked for; {self.available_bits} on the account")
        self.out_bits += bits


def output_entropy(input_bits: int, output_bits: int, narrowest_bits: int, min_entropy_in: int) -> Decimal:
    """Min-entropy of a conditioner's output in bits, SP 800-90B section 3.1.5.1.2.

    `narrowest_bits` is the narrowest internal width. 120 digits: full entropy is decided by the 20th.
    """
    with localcontext() as context:
        context.prec = 120
        high = Decimal(2) ** -min_entropy_in
        low = (1 - high) / (Decimal(2) ** input_bits - 1)
        narrow = min(output_bits, narrowest_bits)
        preimages = Decimal(2) ** (input_bits - narrow)
        psi = preimages * low + high
        bins = preimages + (2 * narrow * preimages * Decimal(2).ln()).sqrt()
        return -(max(psi, bins * low).ln() / Decimal(2).ln())
