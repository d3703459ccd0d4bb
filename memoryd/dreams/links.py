"""The graph as it changes while a dream is planned."""

from __future__ import annotations

from memoryd.graph import Graph
from memoryd.memory import Edge


class Links:
    """Changes the graph it is given, and knows what it has changed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._touched: dict[tuple[int, int], Edge | None] = {}

    def connect(self, edge: Edge) -> None:
        self.graph.connect(edge)
        self._touched[edge.pair] = edge

    def remove_node(self, memory_id: int) -> None:
        for pair in self.graph.remove_node(memory_id):
            self._touched[pair] = None

    def removed(self) -> tuple[tuple[int, int], ...]:
        return tuple(sorted(pair for pair, edge in self._touched.items() if edge is None))

    def added(self) -> tuple[Edge, ...]:
        return tuple(edge for _, edge in sorted(self._touched.items()) if edge is not None)
