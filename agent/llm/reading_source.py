"""Questions to the text of a train.py that are asked again and again; parsing it takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from agent.search.hyperparameters import edits_code, read_block
from services.errors import ServiceError


def readable_block(source: str) -> dict[str, object]:
    """The hyperparameters of a file; none where it cannot be read."""
    return dict(_block(source))


@lru_cache(maxsize=64)
def source_edits_code(before: str, after: str) -> bool:
    """Whether more than values of hyperparameters differ; True for a file that does not parse."""
    if before == after:
        return False
    try:
        return edits_code(before, after)
    except ServiceError:
        return True


@lru_cache(maxsize=64)
def _block(source: str) -> Mapping[str, object]:
    try:
        return MappingProxyType(dict(read_block(source)))
    except ServiceError:
        return MappingProxyType({})
