"""Which seeds a proposal's pairs run on. Pure.

Seeds come in blocks. All proposals against one incumbent share a block, so that the incumbent's run on a
seed serves several of them. A new incumbent gets a new block: it begins with `FRESH_SEEDS` seeds that had
no part in choosing it, on which it is measured again before anything is compared with it, and goes on
with the seeds of the block before, on the first of which it won, so that those runs serve as well (they
flatter it a little, which makes later keeps harder, never easier). After `RENEW_AFTER` proposals every
seed of the block is a fresh one, so that neither luck of the incumbent nor a slow drift of the machine
lasts: what is compared was measured in the same stretch of the session. `autoresearch simulate` plays
this plan.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.ledger.records import ProposalRecord
from agent.verdict import Verdict

BLOCK_SIZE = 16
FRESH_SEEDS = 1
RENEW_AFTER = 25


def block_of_next(proposals: Iterable[ProposalRecord]) -> int:
    """The block of the next proposal, from all earlier ones, oldest first; the baseline's is block 0.

    Blocks count the fresh seeds since: a keep moves by some, a renewal by a whole block.
    """
    block = used = 0
    for proposal in proposals:
        if proposal.number == 0 or proposal.verdict is Verdict.REFUSED:
            continue
        used += 1
        if proposal.is_commit:
            block, used = block + 1, 0
        elif used >= RENEW_AFTER:
            block, used = block + BLOCK_SIZE // FRESH_SEEDS, 0
    return block


def seed_index(block: int, position: int) -> int:
    """Index into the session's seeds. Raises ValueError outside the block."""
    if not 0 <= position < BLOCK_SIZE:
        raise ValueError(f"a block has {BLOCK_SIZE} seeds, so there is no position {position}")
    older, place = divmod(position, FRESH_SEEDS)
    if older >= block:
        return position - FRESH_SEEDS * block
    return BLOCK_SIZE + FRESH_SEEDS * (block - 1 - older) + place
