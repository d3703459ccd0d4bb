"""How much code a train.py is: what makes a tie worth keeping. Pure."""

from __future__ import annotations

import ast

CLEARLY_LESS = 0.995


def code_size(source: str) -> int:
    """Nodes of the syntax tree without docstrings; comments and layout do not count. 0 if it has none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return 0
    return sum(1 for node in ast.walk(tree) if not _is_text(node))


def is_simpler(candidate: str, incumbent: str) -> bool:
    """Whether the candidate is clearly less code: at least half a percent of the tree has gone."""
    size = code_size(candidate)
    return 0 < size <= code_size(incumbent) * CLEARLY_LESS


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
