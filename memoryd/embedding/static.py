"""Embeddings from a table of word pieces: numpy only, about 0.1 ms a text, no model to run.

The table (256 numbers for each of 32,000 pieces) and its tokenizer come with the wordllama package, whose
two files are read directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memoryd.embedding.embedder import Embedder, Matrix
from services.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
MAXIMUM_CHARACTERS = 16_384  # of one text; more adds nothing to a mean over pieces
INLINE_CHARACTERS = 4_096  # about 1 ms of work; more goes to a thread


class StaticEmbedder:
    """The mean of the pieces' vectors, brought to unit length."""

    name = "static"

    def __init__(self, table: Matrix, tokenizer: Tokenizer) -> None:
        self._table = table
        self._tokenizer = tokenizer
        self.dimension = int(table.shape[1])

    async def embed(self, texts: Sequence[str]) -> Matrix:
        shortened = [text[:MAXIMUM_CHARACTERS] for text in texts]
        if sum(map(len, shortened)) <= INLINE_CHARACTERS:
            return self._embed(shortened)
        return await asyncio.to_thread(self._embed, shortened)

    async def reachable(self) -> bool:
        return True

    async def invert(self, vector: Sequence[float]) -> str | None:
        return None

    async def close(self) -> None:
        return None

    def _embed(self, texts: Sequence[str]) -> Matrix:
        result = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts), add_special_tokens=False)):
            if encoding.ids:
                mean = self._table[encoding.ids].mean(axis=0, dtype=np.float32)
                length = float(np.linalg.norm(mean))
                result[row] = mean / length if length > 0 else mean
        return result


async def open_static() -> StaticEmbedder:
    """Loads the two files. Raises ConfigurationError when the package is not installed."""
    return await asyncio.to_thread(_load)


def _load() -> StaticEmbedder:
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "--embedder static needs the package wordllama; install autoresearch-stack[memoryd]"
            " or use --embedder none"
        )
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        table = load_file(folder / WEIGHTS)["embedding.weight"].astype(np.float32)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except ImportError as error:
        raise ConfigurationError(
            f"--embedder static: {error}; install autoresearch-stack[memoryd] or use --embedder none"
        ) from error
    except Exception as error:  # the two libraries have no common error type
        raise ConfigurationError(
            f"--embedder static: cannot read the files of wordllama in {folder}: {error}"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return StaticEmbedder(table, tokenizer)


_: type[Embedder] = StaticEmbedder
