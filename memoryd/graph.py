"""The graph over memories: one edge per unordered pair, seen from both ends unless it is causal."""

from __future__ import annotations

from collections.abc import Iterator

from memoryd.memory import Edge, EdgeKind

ARROWS = {EdgeKind.SEMANTIC: "<->", EdgeKind.CAUSAL: "->", EdgeKind.STRUCTURAL: "<~>"}


class Graph:
    """Edges by pair and by node. Ids need not belong to stored memories."""

    def __init__(self) -> None:
        self._edges: dict[tuple[int, int], Edge] = {}
        self._forward: dict[int, dict[int, Edge]] = {}
        self._backward: dict[int, dict[int, Edge]] = {}

    def __len__(self) -> int:
        return len(self._edges)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self._edges.values())

    @property
    def node_count(self) -> int:
        """Nodes that an edge touches."""
        return len(self._forward.keys() | self._backward.keys())

    def edge(self, first: int, second: int) -> Edge | None:
        """The edge of a pair, whatever its direction."""
        return self._edges.get((min(first, second), max(first, second)))

    def connect(self, edge: Edge) -> None:
        """Adds an edge; an older one of the same pair goes, with both its directions."""
        self.disconnect(edge.source, edge.target)
        self._edges[edge.pair] = edge
        self._forward.setdefault(edge.source, {})[edge.target] = edge
        if edge.kind is EdgeKind.CAUSAL:
            self._backward.setdefault(edge.target, {})[edge.source] = edge
        else:
            self._forward.setdefault(edge.target, {})[edge.source] = edge

    def disconnect(self, first: int, second: int) -> bool:
        """Removes the edge of a pair; False where there is none."""
        edge = self._edges.pop((min(first, second), max(first, second)), None)
        if edge is None:
            return False
        for links in (self._forward, self._backward):
            for node, other in ((edge.source, edge.target), (edge.target, edge.source)):
                if node in links:
                    links[node].pop(other, None)
                    if not links[node]:
                        del links[node]
        return True

    def remove_node(self, memory_id: int) -> list[tuple[int, int]]:
        """Removes every edge of a node; answers their pairs."""
        others = {*self._forward.get(memory_id, ()), *self._backward.get(memory_id, ())}
        pairs = sorted((min(memory_id, other), max(memory_id, other)) for other in others)
        for first, second in pairs:
            self.disconnect(first, second)
        return pairs

    def neighbors(self, memory_id: int) -> dict[int, Edge]:
        """What `memory_id` sees: both ends of semantic and structural edges, targets of causal ones."""
        return dict(sorted(self._forward.get(memory_id, {}).items()))

    def predecessors(self, memory_id: int) -> dict[int, Edge]:
        """Sources of causal edges into `memory_id`."""
        return dict(sorted(self._backward.get(memory_id, {}).items()))

    def copy(self) -> Graph:
        """An independent copy; edges are values and shared."""
        twin = Graph()
        twin._edges = dict(self._edges)
        twin._forward = {node: dict(links) for node, links in self._forward.items()}
        twin._backward = {node: dict(links) for node, links in self._backward.items()}
        return twin
