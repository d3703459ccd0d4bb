"""The length of a store's vectors, which the first one fixes: also while that one is still being stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memoryd.mirror import Mirror


class Dimension:
    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._claimed = 0
        self._claims = 0

    @property
    def expected(self) -> int:
        """How many numbers a vector must have; 0 while any number will do."""
        return self._mirror.dimension or self._claimed

    @contextmanager
    def claim(self, count: int) -> Iterator[None]:
        """While a vector of `count` numbers (0: none) is being stored, whether or not that succeeds."""
        self._claimed = self.expected or count
        self._claims += 1
        try:
            yield
        finally:
            self._claims -= 1
            if not self._claims:
                self._claimed = 0
