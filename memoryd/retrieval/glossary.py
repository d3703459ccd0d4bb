"""Words that mean the same thing in training language models; Recall searches for the concept as well.

A line is one concept: its name, then words and two-word terms, compared as stems. ferricula's /search does
not use it. The list is general vocabulary, not a table of anybody's notes; see docs/retrieval.md for what
it is worth, measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from memoryd.retrieval.tokens import tokenize

CONCEPTS = """
learning-rate: lr, learning rate, step size
cooldown: warmdown, cooldown, cools, cooling, anneal, annealing, lr decay, rate decay
warmup: warmup, ramp, ramps
muon: muon, matrix, matrices, orthogonalised
embedding: embedding, wte, token table, token vectors, token embedding
unembedding: unembedding, lm head, output head, output layer, output projection
scalars: scalar, scalars, gains, residual scalars, per-layer gain
weight-decay: weight decay, wd, l2, shrinkage, regularisation, regularization, regularise
batch: total batch, optimizer step, global batch, tokens processed, each update
micro-batch: device batch, micro batch, microbatch, forward pass, per card
head-width: head dimension, head dim, each attention head, attention head, head size
head-count: number heads, n head, parallel attention, attention heads, head count
aspect: aspect ratio, model width, wideness
window: window pattern, sliding window, local global, global attention, nearby tokens, attention span
momentum: momentum, inertia, smoothing
second-moment: beta2, second moment, squared gradients, adam beta
newton-schulz: newton, schulz, ns, orthogonalisation, orthogonalised, orthogonalization
clipping: clip, clipping, gradient cap, exploding, exploding gradients
softcap: softcap, squashing, tanh, bounding, output scores
rope: rope, rotary, rotations, position rotations, wavelength
feed-forward: mlp, ffn, feed-forward, feed forward
context: sequence length, seq len, context, context window, model sees
value-embedding: value embeddings, value embeds, ve, attention values, gated token
dropout: dropout, silencing, masking, random masking
init: init, initialisation, initialization, starting weights
qk-norm: qk, qk norm, queries keys, normalised queries, sharpness
averaging: ema, averaging, moving average, averaged weights
depth: depth, layers, deep
raise: raise, raised, raising, increase, increased, bumped, larger, higher, bigger, longer
lower: lower, lowered, lowering, reduce, reduced, cut, decrease, decreased, smaller, shorter
loss: bpb, val bpb, bits per byte, loss
out-of-memory: oom, memory error
diverged: nan, diverged, divergence, exploded
"""


def concepts_of(stems: Sequence[str]) -> Iterator[str]:
    """The names of the concepts that stand in a tokenized text, each as often as it is said."""
    table = _table()
    for position, word in enumerate(stems):
        name = table.get((word,))
        if name is None and position + 1 < len(stems):
            name = table.get((word, stems[position + 1]))
        if name is not None:
            yield name


@cache
def _table() -> dict[tuple[str, ...], str]:
    table: dict[tuple[str, ...], str] = {}
    for line in CONCEPTS.strip().splitlines():
        name, _, terms = line.partition(":")
        for term in terms.split(","):
            stems = tuple(tokenize(term))
            # A term that lost a word to the stop list would stand for what is left of it.
            if 1 <= len(stems) <= 2 and len(stems) == len(re.findall(r"\w+", term)):
                table.setdefault(stems, name)
    return table
