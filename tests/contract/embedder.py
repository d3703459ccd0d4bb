"""What every Embedder keeps to. `test_embedder.py` runs it over each implementation."""

from __future__ import annotations

import asyncio

import numpy as np

from memoryd.embedding.embedder import Embedder


async def keeps_order_and_shape(embedder: Embedder) -> None:
    texts = ["a longer warmdown helped", "the cat sat on the mat", "muon with lr 0.04"]
    together = await embedder.embed(texts)
    assert together.shape == (3, embedder.dimension)
    assert together.dtype == np.float32
    for row, text in zip(together, texts, strict=True):
        alone = (await embedder.embed([text]))[0]
        assert np.allclose(row, alone, atol=1e-5), "a neighbour in the batch changed a vector"


async def answers_no_texts_with_no_rows(embedder: Embedder) -> None:
    assert (await embedder.embed([])).shape[0] == 0


async def survives_odd_texts(embedder: Embedder) -> None:
    odd = ["", " ", "\x00", "🙂" * 50, "x" * 100_000, "日本語のテキスト"]
    vectors = await embedder.embed(odd)
    assert vectors.shape == (len(odd), embedder.dimension)
    assert np.all(np.isfinite(vectors))


async def serves_concurrent_callers(embedder: Embedder) -> None:
    answers = await asyncio.gather(*(embedder.embed([f"run {n}"]) for n in range(20)))
    again = await embedder.embed([f"run {n}" for n in range(20)])
    assert np.allclose(np.concatenate(answers), again, atol=1e-5)


async def closes_twice(embedder: Embedder) -> None:
    await embedder.close()
    await embedder.close()


CONTRACT = (
    keeps_order_and_shape,
    answers_no_texts_with_no_rows,
    survives_odd_texts,
    serves_concurrent_callers,
    closes_twice,
)
