"""The end of forgetting: a record that has faded to nothing goes, with its edges; the text stays.

The row, its terms and its search document are never touched, so search finds the text for ever. Where the
embedder can still tell what the vector meant, that ghost echo stays on every neighbour as a self-edge.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from memoryd.dreams.dynamics import fade_factor
from memoryd.dreams.links import Links
from memoryd.dreams.plan import Draft
from memoryd.memory import Edge, EdgeKind, Record, State

FADED_BELOW = 1.19e-7
PRUNED_PER_DREAM = 100  # echoes ask a service for each; the others wait for the next dreams
ECHO_WEIGHT = 0.1
ECHO_CHARACTERS = 480


def is_faded(record: Record) -> bool:
    """Whether nothing is left of an archived memory but its row."""
    return record.state is State.ARCHIVED and not record.keystone and record.fidelity < FADED_BELOW


def fading(records: Iterable[tuple[int, Record]]) -> list[int]:
    """The smallest ids that the next dream may prune, ascending, at most PRUNED_PER_DREAM.

    One more tick may come before the pruning, and a forgiven memory may be archived before it.
    """
    return heapq.nsmallest(
        PRUNED_PER_DREAM,
        (
            memory_id
            for memory_id, record in records
            if record.state in (State.FORGIVEN, State.ARCHIVED)
            and not record.keystone
            and record.fidelity * fade_factor(record) < FADED_BELOW
        ),
    )


def prune(draft: Draft, links: Links, echoes: Mapping[int, str | None]) -> tuple[list[int], int]:
    """Prunes what has faded among the keys of `echoes`; answers the ids and the number of echoes left."""
    pruned: list[int] = []
    left = 0
    for memory_id in sorted(echoes):
        record = draft.get(memory_id)
        if record is None or not is_faded(record):
            continue
        neighbors = [other for other in links.graph.neighbors(memory_id) if other != memory_id]
        links.remove_node(memory_id)
        draft.set_state(memory_id, State.PRUNED)
        pruned.append(memory_id)
        echo = echoes[memory_id]
        if echo is not None:
            label = f"echo:{echo[:ECHO_CHARACTERS]}"
            for other in neighbors:
                links.connect(Edge(other, other, label, EdgeKind.SEMANTIC, ECHO_WEIGHT))
            left += max(1, len(neighbors))
    return pruned, left
