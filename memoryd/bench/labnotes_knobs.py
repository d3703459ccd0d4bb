"""The knobs of the synthetic lab notebook: what notes call them, and what a question calls them instead."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Knob:
    """`names` stand in notes, `paraphrases` only in questions; `values` from small to large."""

    names: tuple[str, str]
    paraphrases: tuple[str, str]
    values: tuple[str, ...]


@cache
def held_out() -> frozenset[str]:
    """The half of the paraphrases on which nothing may be tuned, chosen once by a fixed seed.

    Those of the first knob stand in the documentation as examples, so they count as known.
    """
    phrases = sorted(phrase for knob in KNOBS for phrase in knob.paraphrases)
    random.Random(0).shuffle(phrases)
    return frozenset(phrases[len(phrases) // 2 :]) - frozenset(KNOBS[0].paraphrases)


def _knob(names: str, paraphrases: str, values: str) -> Knob:
    first, second = names.split("|")
    one, two = paraphrases.split("|")
    return Knob((first, second), (one, two), tuple(values.split()))


KNOBS: tuple[Knob, ...] = (
    _knob(
        "WARMDOWN_RATIO|warmdown ratio",
        "share of the run in which the learning rate cools|length of the final LR cooling phase",
        "0.2 0.3 0.4 0.5 0.6",
    ),
    _knob(
        "WARMUP_RATIO|warmup ratio",
        "how slowly the step size ramps in at the start|length of the initial LR ramp",
        "0.0 0.01 0.02 0.05",
    ),
    _knob(
        "MATRIX_LR|matrix learning rate",
        "step size of Muon on weight matrices|Muon step size",
        "0.02 0.03 0.04 0.05 0.06",
    ),
    _knob(
        "EMBEDDING_LR|embedding learning rate",
        "step size for token vectors|how fast the token table learns",
        "0.3 0.6 0.8 1.0",
    ),
    _knob(
        "UNEMBEDDING_LR|unembedding learning rate",
        "step size of the output head|how fast the lm head learns",
        "0.002 0.004 0.008",
    ),
    _knob(
        "SCALAR_LR|scalar learning rate",
        "step size of per-layer gains|how fast residual scalars learn",
        "0.2 0.5 0.8",
    ),
    _knob(
        "WEIGHT_DECAY|weight decay",
        "L2 shrinkage of parameters|regularisation of the weights",
        "0.0 0.1 0.2 0.3",
    ),
    _knob(
        "TOTAL_BATCH_SIZE|total batch size",
        "tokens processed per optimizer step|how many tokens each update sees",
        "2**16 2**17 2**18 2**19",
    ),
    _knob(
        "DEVICE_BATCH_SIZE|device batch size",
        "sequences per forward pass on one card|micro batch of a GPU",
        "16 32 64 128",
    ),
    _knob("HEAD_DIM|head dimension", "width of each attention head|size of one attention head", "64 96 128"),
    _knob("N_HEAD|number of heads", "count of parallel attention heads|how many attention heads", "4 6 8 10"),
    _knob("ASPECT_RATIO|aspect ratio", "model width per layer|wideness relative to layers", "48 64 80"),
    _knob(
        "WINDOW_PATTERN|window pattern",
        "mix of local and global attention layers|which layers see only nearby tokens",
        "S SL SSL SSSL",
    ),
    _knob(
        "MUON_MOMENTUM|Muon momentum",
        "inertia of the matrix optimizer|smoothing of matrix gradients",
        "0.85 0.9 0.95",
    ),
    _knob("ADAM_BETA2|Adam beta2", "memory of squared gradients|second moment horizon", "0.9 0.95 0.99"),
    _knob(
        "NS_STEPS|Newton-Schulz steps",
        "iterations of orthogonalisation|how exactly updates are orthogonalised",
        "3 4 5 6",
    ),
    _knob(
        "GRAD_CLIP|gradient clipping",
        "cap on the size of gradients|limit for exploding gradients",
        "0.5 1.0 2.0",
    ),
    _knob(
        "LOGIT_SOFTCAP|logit softcap",
        "squashing of output scores|bounding the output scores by tanh",
        "10 15 20 30",
    ),
    _knob(
        "ROPE_BASE|rope base",
        "wavelength of rotary positions|frequency of position rotations",
        "10000 50000 100000",
    ),
    _knob("MLP_RATIO|MLP ratio", "expansion of the feed-forward block|feed-forward width", "2 3 4 5"),
    _knob("SEQ_LEN|sequence length", "context window in tokens|how far back the model sees", "512 1024 2048"),
    _knob(
        "VALUE_EMBEDS|value embeddings",
        "extra token vectors added in attention values|gated token tables inside attention",
        "0 1 2",
    ),
    _knob("DROPOUT|dropout", "randomly silencing units|random masking of activations", "0.0 0.05 0.1"),
    _knob(
        "INIT_SCALE|init scale",
        "spread of the starting weights|size of the weights before training",
        "0.5 0.68 1.0",
    ),
    _knob(
        "QK_NORM|qk norm gain",
        "scaling of normalised queries and keys|attention sharpness factor",
        "1.0 1.15 1.3",
    ),
    _knob(
        "EMA_DECAY|EMA decay",
        "averaging of weights over time|moving average of parameters",
        "0.99 0.995 0.999",
    ),
)

NEVER_TRIED: tuple[str, ...] = (
    "mixture of experts routing",
    "low-rank adapters",
    "speculative decoding",
    "label smoothing",
    "stochastic depth",
    "sharpness-aware minimisation",
    "curriculum by document difficulty",
    "state space layers",
    "byte-level inputs without a tokenizer",
    "knowledge distillation from a teacher",
    "quantisation-aware training",
    "contrastive auxiliary loss",
    "retrieval from a datastore",
    "hypernetwork-generated weights",
    "evolutionary weight merging",
    "ALiBi position bias",
    "reversible layers",
    "sparse top-k attention",
    "gradient noise injection",
    "test-time training",
)
