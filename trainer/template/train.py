"""The one file of an experiment: hyperparameters, model, optimizer, setup, training loop.

Edit anything between the section marks. The contract (docs/candidate.md): importing this file has no
effect; build_model(config) returns a module whose forward maps int64 tokens [B, T] to logits [B, T, V];
train(run) trains within run.budget and writes a checkpoint. The score is computed by the trainer from
the checkpoint, never by this file. `python train.py` runs one experiment by hand.

Shapes: B rows, T tokens, V vocabulary, C width, H heads, D head width, L layers.
"""
# mypy: disable-error-code="arg-type,attr-defined,union-attr,no-any-return,no-untyped-call,list-item"

import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from trainer.harness.attention import MaskPlan, attend, choose_backend, document_ids, plan_masks
from trainer.harness.attention_choice import AttentionShape, choose_timed
from trainer.harness.budget import BudgetClock
from trainer.harness.checkpoint import save_checkpoint
from trainer.harness.cross_entropy import softcap_cross_entropy
from trainer.harness.device import Device, open_device, peak_memory_bytes, seed_everything, synchronize
from trainer.harness.events import EventWriter
from trainer.harness.failures import ContractError
from trainer.harness.loader import TokenLoader, TrainRows, open_train_rows
from trainer.harness.lookup import Memory, ngram_keys, read_lengths, recall
from trainer.harness.loss_reader import LossReader
from trainer.harness.process_group import ProcessGroup, Share, join_group, local_rank
from trainer.harness.run_spec import Budget, RunSpec

# === SECTION: hyperparameters ===

# Model
DEPTH = 8  # layers
ASPECT_RATIO = 80  # width = DEPTH * ASPECT_RATIO, rounded up to a multiple of HEAD_DIM
HEAD_DIM = 128
MLP_RATIO = 4  # hidden width of the MLP / width
MLP_ACTIVATION = "relu2"  # relu2, gelu or silu
WINDOW_PATTERN = "SSSSL"  # repeated over the layers: S short window, L full; the last layer is always full
SHORT_WINDOW_DIVISOR = 8  # short window = T / this
WINDOWS = True  # False: every layer is full, which is what a kernel that knows no windows computes
ATTENTION = ""  # backend on a GPU (flex, varlen, sdpa, ...: trainer/harness/attention.py); empty: the run's
DOCUMENT_MASK = False  # attention stays inside a document
ROPE_BASE = 200_000
QK_NORM = True  # RMS norm on queries and keys, after rotary
VALUE_EMBEDDINGS = True  # gated token embeddings added to the values of every second layer
NGRAM_ORDER = 1  # 2: hashed bigram tables join those values as well; 3: trigrams too; 1: none
NGRAM_ROWS = 4  # rows of an n-gram table / vocabulary
NGRAM_EPOCHS = 1.0  # no such tables where the budget lasts for more passes: they learn rows by heart
RECALL = ""  # numbers n, as "1 2 3": looks up what followed the last n tokens before, in the row
MEMORY = ""  # numbers n: looks up what followed the last n tokens in the rows trained on
MEMORY_BITS = 18  # 2 ** this entries for each n and half of the rows
HEAD_GATES = False  # each head's output times 2 * sigmoid(gate)
HEAD_NORM = False  # RMS norm on each head's output
SMEAR = False  # a gated share of the previous token's embedding joins each token's
BACKOUT = 0.0  # initial share of the two-thirds layer's stream that is taken out before the head
FUSED_LOSS = True  # soft-cap and cross-entropy in one pass; False computes them one by one
MERGE_QKV = True  # one matrix product for queries, keys and values; the weights stay three matrices
PREFETCH = True  # read batches ahead; False reads each when it is due and waits for every step
SOFTCAP = 15.0  # logits = SOFTCAP * tanh(z / SOFTCAP); 0 switches it off
INIT_SCALE = 0.68  # multiplies the uniform initialisation of matrices
RESID_LAMBDA_INIT = 1.0  # residual stream, per layer
X0_LAMBDA_INIT = 0.05  # share of the first embedding, per layer

# Batch
DEVICE_BATCH_SIZE = 64  # rows a forward pass takes
TOTAL_BATCH_SIZE = 2**17  # tokens an optimizer step takes, over all devices

# Optimizer: AdamW for tables, head and scalars, Muon for matrices
EMBEDDING_LR = 0.9  # Adam rates but SCALAR_LR are scaled by (width / 768) ** -0.5
NGRAM_LR = 0.9
NGRAM_BETAS = (0.8, 0.95)
LOOKUP_LR = 0.3
UNEMBEDDING_LR = 0.005
SCALAR_LR = 0.5
SCALAR_EPS = 1e-6  # their first gradients are rounding noise, which a smaller eps would blow up to full steps
MATRIX_LR = 0.04  # scaled by sqrt(rows / columns) where rows exceed columns
GATE_LR = 0.0  # Adam rate of gates; 0 leaves them to Muon
ADAM_BETAS = (0.8, 0.95)
EMBEDDING_WD = 0.001
VE_WD = 0.003
LM_HEAD_WD = 0.01
WEIGHT_DECAY = 0.2  # matrices: cautious, falls to zero with progress
CAUTIOUS_ADAM = False  # Adam decays only where the update agrees in sign with the weight
MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 200  # steps from the first to the second
MUON_MOMENTUM_END = 0.95  # reached at the end of the warm-down
MUON_ITERATIONS = 5  # of the polar decomposition, at most 5
MUON_EQ = False  # rows of the momentum get equal norm before orthogonalisation
NORMUON = True  # rows (or columns) of the update get equal variance after it
NORMUON_BETA2 = 0.95

# Schedule, as shares of the budget
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.75
FINAL_LR_FRAC = 0.05

# Weber bracket W = 1 - v^2 / (2 c^2) + v a / c^2 on every update: v momentum, a its change in one step
WEBER_MODE = "off"  # off; raw: gradient units, as first proposed; normalized: units of the second moment
WEBER_C_SQ = 1.0  # c^2: larger is subtler
WEBER_CONTROL = "none"  # mean: W divided by its mean, so that only its shape acts; shuffle: W permuted

# === SECTION: model ===


def model_config(vocab_size: int, context_length: int, bos: int, half_tables: bool = False) -> dict[str, Any]:
    """Everything build_model() needs, as JSON: the structural hyperparameters and the data's shape."""
    return {
        "vocab_size": vocab_size,
        "context_length": context_length,
        "bos": bos,
        "half_tables": half_tables,  # embeddings in bfloat16
        "depth": DEPTH,
        "width": -(-DEPTH * ASPECT_RATIO // HEAD_DIM) * HEAD_DIM,
        "head_dim": HEAD_DIM,
        "mlp_ratio": MLP_RATIO,
        "mlp_activation": MLP_ACTIVATION,
        "windows": layer_windows(context_length),
        "document_mask": DOCUMENT_MASK,
        "rope_base": ROPE_BASE,
        "qk_norm": QK_NORM,
        "value_embeddings": VALUE_EMBEDDINGS,
        "ngram_order": NGRAM_ORDER,
        "ngram_rows": NGRAM_ROWS * vocab_size,
        "recall": read_lengths("RECALL", RECALL),
        "memory": read_lengths("MEMORY", MEMORY),
        "memory_bits": MEMORY_BITS,
        "head_gates": HEAD_GATES,
        "head_norm": HEAD_NORM,
        "smear": SMEAR,
        "backout": BACKOUT,
        "softcap": SOFTCAP,
    }


def layer_windows(context_length: int) -> list[int]:
    """Earlier keys in sight, per layer; context_length means all."""
    if not WINDOW_PATTERN or set(WINDOW_PATTERN) - set("SL"):
        raise ContractError(f"WINDOW_PATTERN must consist of S and L, not {WINDOW_PATTERN!r}")
    if not WINDOWS:
        return [context_length] * DEPTH
    short = max(1, context_length // SHORT_WINDOW_DIVISOR)
    windows = [
        short if WINDOW_PATTERN[i % len(WINDOW_PATTERN)] == "S" else context_length for i in range(DEPTH)
    ]
    windows[-1] = context_length
    return windows


def norm(x: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last dimension, without weights."""
    return F.rms_norm(x, (x.size(-1),)).to(x.dtype)  # autocast may leave it in float32


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position on the two halves of each head: x [B, T, H, D], cos and sin [T, 1, D].

    cos holds its half twice, sin its half and then the half negated.
    """
    return (x * cos + x.roll(x.size(-1) // 2, dims=-1) * sin).to(x.dtype)


class Gate(nn.Module):
    """2 * sigmoid of a linear map of the first channels: 1 at the start, between 0 and 2 later."""

    def __init__(self, width: int, outputs: int, first: int = 0, channels: int = 32) -> None:
        super().__init__()
        self.first, self.last = min(first, width - 1), min(first + channels, width)
        self.map = nn.Linear(self.last - self.first, outputs, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * torch.sigmoid(self.map(x[..., self.first : self.last]))


class Table(nn.Embedding):
    """Embeddings [rows, width] in bfloat16 or float32, with no weights before initialize() or a checkpoint:
    n-gram tables are so large that drawing random ones to throw away would take seconds."""

    def __init__(self, rows: int, width: int, half: bool) -> None:
        super().__init__(rows, width, dtype=torch.bfloat16 if half else torch.float32)

    def reset_parameters(self) -> None:
        pass


class NgramTable(nn.Module):
    """Embeddings of hashed n-grams: two half-width tables with different hashes, so few collide in both."""

    def __init__(self, rows: int, width: int, order: int, half: bool) -> None:
        super().__init__()
        self.rows, self.order = rows, order
        self.halves = nn.ModuleList(Table(rows, width // 2, half) for _ in range(2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        keys = ngram_keys(tokens, [self.order])[0]
        return torch.cat([self.halves[0](keys % self.rows), self.halves[1]((keys >> 31) % self.rows)], dim=-1)


class Lookup(nn.Module):
    """Embeddings of what followed the last tokens before, earlier in the row and in the rows trained on."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.none = config["vocab_size"]
        self.recall = config["recall"]
        self.memory = Memory(config["memory"], config["memory_bits"]) if config["memory"] else None
        rows = -(-(self.none + 9) // 64) * 64  # a token, none, or how sure
        count = len(config["recall"]) + len(config["memory"])
        self.tables = nn.ModuleList(Table(rows, config["width"], config["half_tables"]) for _ in range(count))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows = [[found] for found in recall(tokens, self.recall, self.none)] if self.recall else []
        if self.memory is not None:
            followed, sure = self.memory(tokens)
            followed = followed.masked_fill(sure < 0, self.none)
            rows += [list(both) for both in zip(followed, sure + (self.none + 1), strict=True)]
        return sum(table(row) for table, found in zip(self.tables, rows, strict=True) for row in found)


class Attention(nn.Module):
    """Causal attention; extra values, from token and n-gram embeddings, join through gates."""

    def __init__(self, config: dict[str, Any], layer: int) -> None:
        super().__init__()
        width, self.head_dim = config["width"], config["head_dim"]
        self.heads = width // self.head_dim
        self.window = config["windows"][layer]
        self.qk_norm, self.head_norm = config["qk_norm"], config["head_norm"]
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        extra = extra_values(config, layer)
        self.value_gates = nn.ModuleList(Gate(width, self.heads, 32 * i) for i in range(extra))
        self.head_gate = Gate(width, self.heads, 32 * extra) if config["head_gates"] else None

    def forward(
        self, x: torch.Tensor, extra: list[torch.Tensor], cos: torch.Tensor, sin: torch.Tensor, plan: MaskPlan
    ) -> torch.Tensor:
        rows, length, width = x.shape
        shape = (rows, length, self.heads, self.head_dim)
        q, k, v = (part.view(shape) for part in self._project(x))
        for gate, values in zip(self.value_gates, extra, strict=True):
            v = v + (gate(x).unsqueeze(-1) * values.view(shape)).to(v.dtype)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.qk_norm:
            q, k = norm(q), norm(k)
        y = attend(q.to(v.dtype), k.to(v.dtype), v, self.window, plan)
        if self.head_norm:
            y = norm(y)
        if self.head_gate is not None:
            y = y * self.head_gate(x).unsqueeze(-1)
        return self.out(y.reshape(rows, length, width))

    def _project(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not MERGE_QKV:
            return self.q(x), self.k(x), self.v(x)
        merged = F.linear(x, torch.cat([self.q.weight, self.k.weight, self.v.weight]))
        return merged.split(x.size(-1), dim=-1)


def extra_values(config: dict[str, Any], layer: int) -> int:
    """How many extra value embeddings a layer has: every second one, the last included."""
    if layer % 2 != (config["depth"] - 1) % 2:
        return 0
    return int(config["value_embeddings"]) + config["ngram_order"] - 1


class MLP(nn.Module):
    """Two matrices with an activation between."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, hidden = config["width"], config["width"] * config["mlp_ratio"]
        self.activation = config["mlp_activation"]
        if self.activation not in ("relu2", "gelu", "silu"):
            raise ContractError(f"MLP_ACTIVATION must be relu2, gelu or silu, not {self.activation!r}")
        self.up = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        if self.activation == "relu2":
            x = F.relu(x).square()
        else:
            x = F.gelu(x) if self.activation == "gelu" else F.silu(x)
        return self.out(x)


class Block(nn.Module):
    """One layer: attention and MLP, each on the normed residual stream."""

    def __init__(self, config: dict[str, Any], layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(
        self, x: torch.Tensor, extra: list[torch.Tensor], cos: torch.Tensor, sin: torch.Tensor, plan: MaskPlan
    ) -> torch.Tensor:
        x = x + self.attention(norm(x), extra, cos, sin, plan)
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    """Decoder-only transformer: forward maps int64 [B, T] to logits [B, T, V], float32."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        depth, width, vocab_size = config["depth"], config["width"], config["vocab_size"]
        if width % config["head_dim"] or config["head_dim"] % 2 or not 1 <= config["ngram_order"] <= 3:
            raise ContractError("HEAD_DIM must be even and divide the width, NGRAM_ORDER must be 1, 2 or 3")
        half = config["half_tables"]
        self.embedding = Table(vocab_size, width, half)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(depth))
        self.value_tables = nn.ModuleDict()
        self.ngram_tables = nn.ModuleDict()
        for layer in range(depth):
            if extra_values(config, layer):
                if config["value_embeddings"]:
                    self.value_tables[str(layer)] = Table(vocab_size, width, half)
                orders = range(2, config["ngram_order"] + 1)
                tables = [NgramTable(config["ngram_rows"], width, order, half) for order in orders]
                self.ngram_tables[str(layer)] = nn.ModuleList(tables)
        self.lookup = Lookup(config) if config["recall"] or config["memory"] else None
        self.smear_gate = Gate(width, 1, channels=24) if config["smear"] else None
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.resid_lambdas = nn.Parameter(torch.ones(depth))
        self.x0_lambdas = nn.Parameter(torch.zeros(depth))
        self.backout_lambda = nn.Parameter(torch.full((1,), config["backout"])) if config["backout"] else None
        cos, sin = self._rotary_tables(config["context_length"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.attention_backend = ""
        # replaced by their compiled forms where that pays
        self.body: Any = self._logits_before_cap
        self.plain_loss: Any = self._plain_loss

    @torch.no_grad()
    def initialize(self, seed: int = 0) -> None:
        """Initial weights; output projections and gates start at zero, so do tables of n-grams and lookup.

        Every parameter draws from its own generator, by its name: two variants of the model start
        from equal weights where they have the same parameter, which makes comparisons sharper.
        """
        bound = INIT_SCALE * math.sqrt(3.0 / self.config["width"])
        for name, p in self.named_parameters():
            draw = torch.Generator().manual_seed((seed ^ zlib.crc32(name.encode()) << 20) % 2**63)
            looked_up = name.startswith(("ngram_tables", "lookup"))
            if looked_up or name.endswith(("attention.out.weight", "mlp.out.weight", "map.weight")):
                nn.init.zeros_(p)
            elif name == "embedding.weight":
                nn.init.normal_(p, generator=draw)
            elif name == "head.weight":
                nn.init.normal_(p, std=0.001, generator=draw)
            elif p.dim() == 2:
                nn.init.uniform_(p, -bound, bound, generator=draw)
        self.resid_lambdas.fill_(RESID_LAMBDA_INIT)
        self.x0_lambdas.fill_(X0_LAMBDA_INIT)

    def compile_parts(self, **options: Any) -> None:
        """Compiles the model as one graph; options are torch.compile's. Layer by layer it starts no sooner
        and trains 3 % slower (docs/log.md)."""
        for name in ("body", "plain_loss"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=False, **options))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._cap(self.body(tokens, self.plan(tokens)))

    def loss(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy in nats of targets [B, T] given tokens [B, T], 0-D."""
        if not FUSED_LOSS:
            return self.plain_loss(tokens, targets, self.plan(tokens))
        z = self.body(tokens, self.plan(tokens))
        return softcap_cross_entropy(z.view(-1, z.size(-1)), targets.view(-1), self.config["softcap"])

    def plan(self, tokens: torch.Tensor) -> MaskPlan:
        """The attention masks of one forward pass."""
        config = self.config
        if not self.attention_backend:
            self.attention_backend = choose_backend("auto", tokens.device.type, config["document_mask"])
        documents = document_ids(tokens, config["bos"]) if config["document_mask"] else None
        return plan_masks(
            self.attention_backend, tokens.size(1), tuple(config["windows"]), documents, tokens.device
        )

    def _cap(self, z: torch.Tensor) -> torch.Tensor:
        softcap = self.config["softcap"]
        return softcap * torch.tanh(z.float() / softcap) if softcap else z.float()

    def _plain_loss(self, tokens: torch.Tensor, targets: torch.Tensor, plan: MaskPlan) -> torch.Tensor:
        z, softcap = self._logits_before_cap(tokens, plan), self.config["softcap"]
        logits = (softcap * torch.tanh(z / softcap) if softcap else z).float()
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))

    def _logits_before_cap(self, tokens: torch.Tensor, plan: MaskPlan) -> torch.Tensor:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.device.type == "cuda"):
            cos, sin = self.cos[: tokens.size(1)], self.sin[: tokens.size(1)]
            x = self.embedding(tokens)
            if tokens.device.type != "cuda":
                x = x.float()  # tables in bfloat16 can be evaluated anywhere
            if self.lookup is not None:
                x = x + self.lookup(tokens)
            if self.smear_gate is not None:
                before = F.pad(x, (0, 0, 1, 0))[:, :-1]
                x = x + (self.smear_gate(norm(x)) - 1.0) * before
            x = x0 = norm(x)
            middle = x
            for i, block in enumerate(self.blocks):
                x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * x0
                extra = []
                if str(i) in self.value_tables:
                    extra.append(self.value_tables[str(i)](tokens))
                if str(i) in self.ngram_tables:
                    extra += [table(tokens) for table in self.ngram_tables[str(i)]]
                x = block(x, extra, cos, sin, plan)
                if i == 2 * len(self.blocks) // 3 - 1:
                    middle = x
            if self.backout_lambda is not None:
                x = x - self.backout_lambda[0] * middle
            return self.head(norm(x))

    def _rotary_tables(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.config["head_dim"] // 2
        frequencies = self.config["rope_base"] ** -(torch.arange(half, dtype=torch.float32) / half)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
        cos, sin = angles.cos()[:, None, :], angles.sin()[:, None, :]
        return torch.cat([cos, cos], dim=-1), torch.cat([sin, -sin], dim=-1)

    def flops_per_token(self) -> float:
        """Floating-point operations of forward and backward for one token: matrices and attention."""
        matrices = sum(p.numel() for p in self.blocks.parameters()) + self.head.weight.numel()
        seen = sum(min(window, self.config["context_length"]) for window in self.config["windows"])
        return 6.0 * matrices + 12.0 * self.config["width"] * seen


def build_model(config: dict[str, Any]) -> GPT:
    """The model for a checkpoint's config, weights not yet loaded."""
    return GPT(config)


# === SECTION: optimizer ===

# Coefficients of five iterations towards the orthogonal factor (Polar Express, arXiv:2505.16932).
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
WEBER_FIRST_STEP = 10  # momentum starts at zero: before this step it says nothing


def weber_bracket(v_sq: torch.Tensor, va: torch.Tensor) -> torch.Tensor:
    """W = 1 - v^2 / (2 c^2) + v a / c^2 in float32, clamped: a negative W would reverse the step."""
    w = 1.0 - v_sq.float() / (2.0 * WEBER_C_SQ) + va.float() / WEBER_C_SQ
    w = w.clamp(0.0, 2.0) if WEBER_MODE == "raw" else w.clamp(0.5, 1.5)
    if WEBER_CONTROL == "mean":
        return w / w.mean()
    if WEBER_CONTROL == "shuffle":
        return w.flatten()[torch.randperm(w.numel(), device=w.device)].view_as(w)
    return w


def adamw_update(
    p: torch.Tensor,
    g: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    weber: bool,
    lr: torch.Tensor,
    decay: torch.Tensor,
    bias1: torch.Tensor,
    bias2: torch.Tensor,
) -> None:
    """One AdamW step in place; lr, decay and the two bias corrections are 0-D tensors on the CPU.

    The Weber bracket needs no state of its own: with m = b m' + (1 - b) g the acceleration m - m' is
    (1 - b) / b * (g - m).
    """
    m.lerp_(g, 1 - beta1)
    v.lerp_(g.to(v.dtype).square(), 1 - beta2)
    scale = (v / bias2).sqrt().add_(eps)
    update = m / bias1 / scale
    if weber:
        unit = scale * bias1 if WEBER_MODE == "normalized" else torch.ones_like(scale)
        velocity, acceleration = m / unit, (g - m) * ((1 - beta1) / beta1) / unit
        update = update * weber_bracket(velocity.square(), velocity * acceleration).to(update.dtype)
    if CAUTIOUS_ADAM:
        p.sub_(lr * update + lr * decay * p * ((update * p) >= 0))
    else:
        p.mul_(1 - lr * decay).sub_(lr * update)


def muon_update(
    p: torch.Tensor,
    g: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    weber: bool,
    lr: torch.Tensor,
    decay: torch.Tensor,
    momentum: torch.Tensor,
) -> None:
    """One Muon step in place for a stack of matrices [N, rows, columns]; lr, decay, momentum: 0-D, CPU.

    Nesterov look-ahead, orthogonalisation, variance equalisation, cautious decay.
    """
    m.copy_(momentum * m + (1 - momentum) * g)
    update = momentum * m + (1 - momentum) * g
    if MUON_EQ:
        update = update / (update.norm(dim=-1, keepdim=True) + 1e-12)
    update = orthogonalize(update, MUON_ITERATIONS).float()
    if NORMUON:
        update = equalize_variance(update, v, -1 if g.size(-2) >= g.size(-1) else -2)
    if weber:
        update = update * matrix_weber_bracket(g, m, momentum)
    p.sub_(lr * update + lr * decay * p * ((update * p) >= 0))


def orthogonalize(update: torch.Tensor, iterations: int) -> torch.Tensor:
    """The nearest orthogonal matrix, roughly, for each of a stack [N, rows, columns]."""
    x = update.bfloat16() if update.is_cuda else update
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    for a, b, c in POLAR_EXPRESS[:iterations]:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def equalize_variance(update: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    """Scales rows (dim -1) or columns (dim -2) to equal variance, the norm of each matrix kept (NorMuon)."""
    mean_sq = update.square().mean(dim=dim, keepdim=True)
    second.lerp_(mean_sq, 1 - NORMUON_BETA2)
    scale = second.clamp_min(1e-10).rsqrt()
    before = mean_sq.sum(dim=(-2, -1), keepdim=True)
    after = (mean_sq * scale.square()).sum(dim=(-2, -1), keepdim=True)
    return update * (scale * (before / after.clamp_min(1e-20)).sqrt())


def matrix_weber_bracket(g: torch.Tensor, m: torch.Tensor, momentum: torch.Tensor) -> torch.Tensor:
    """One W per matrix of a stack, [N, 1, 1], from means over the matrix."""
    g, m = g.float(), m.float()
    acceleration = (g - m) * ((1 - momentum) / momentum)
    v_sq = m.square().mean(dim=(-2, -1), keepdim=True)
    va = (m * acceleration).mean(dim=(-2, -1), keepdim=True)
    if WEBER_MODE == "normalized":
        unit = g.square().mean(dim=(-2, -1), keepdim=True) + 1e-20
        v_sq, va = v_sq / unit, va / unit
    return weber_bracket(v_sq, va)


class MuonAdamW:
    """Both optimizers; each parameter group names its `kind`, adamw or muon.

    Muon groups hold matrices of one shape, which are stacked. With several ranks each updates its share of
    a stack or table with the sum of all ranks' gradients, keeps state for that share only, and passes it on.
    """

    def __init__(self, groups: list[dict[str, Any]], ranks: ProcessGroup) -> None:
        self.param_groups = groups
        self.state: dict[nn.Parameter, dict[str, Any]] = {}
        self.ranks = ranks
        # replaced by their compiled forms where that pays
        self.adamw_update: Any = adamw_update
        self.muon_update: Any = muon_update
        for group in groups:
            group["initial_lr"], group["initial_wd"] = group["lr"], group["weight_decay"]

    def compile_parts(self, **options: Any) -> None:
        """Compiles what an update consists of. options are torch.compile's."""
        torch._dynamo.config.cache_size_limit = 64
        for name in ("adamw_update", "muon_update"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=False, **options))

    @torch.no_grad()
    def step(self) -> None:
        """Applies the gradients with the rates that stand in the groups.

        All sums are asked for first and all shares passed on last, so that they travel during the updates.
        """
        asked: list[Any] = []
        for group in self.param_groups:
            if group["kind"] == "muon":
                grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in group["params"]]
                grads += [torch.zeros_like(grads[0])] * (self.ranks.padded(len(grads)) - len(grads))
                share = self.ranks.sum_share(torch.stack(grads))
                asked.append((self._muon_step, group["params"], group, share))
            else:
                given = [p for p in group["params"] if p.grad is not None]
                asked += [(self._adamw_step, p, group, self.ranks.sum_share(p.grad)) for p in given]
        for finish in [update(parameters, group, share) for update, parameters, group, share in asked]:
            finish()

    def zero_grad(self) -> None:
        """Frees all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _adamw_step(self, p: nn.Parameter, group: dict[str, Any], share: Share) -> Callable[[], Any]:
        state, g = self.state.setdefault(p, {}), share.wait()
        if not state:
            # in bfloat16 a share of less than 1 / 256 is lost when it is added
            precise = torch.float32 if group["betas"][1] > 0.99 else p.dtype
            state.update(step=0, m=torch.zeros_like(g), v=torch.zeros_like(g, dtype=precise))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        bias = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        scalars = [torch.tensor(value) for value in (group["lr"], group["weight_decay"], *bias)]
        weber = WEBER_MODE != "off" and state["step"] >= WEBER_FIRST_STEP
        own = p if len(p) == len(g) else p[share.rows]
        self.adamw_update(own, g, state["m"], state["v"], beta1, beta2, group["eps"], weber, *scalars)
        return self.ranks.gather(own, p).wait

    def _muon_step(
        self, matrices: list[nn.Parameter], group: dict[str, Any], share: Share
    ) -> Callable[[], Any]:
        first = matrices[0]
        state, g = self.state.setdefault(first, {}), share.wait()
        if not state:
            tall = g.size(-2) >= g.size(-1)
            second = torch.zeros_like(g[..., :1] if tall else g[..., :1, :], dtype=torch.float32)
            state.update(step=0, m=torch.zeros_like(g), v=second)
        state["step"] += 1
        mine = matrices[share.rows]
        own = torch.stack([*mine, *[torch.zeros_like(first)] * (len(g) - len(mine))])
        lr = group["lr"] * max(1.0, first.size(-2) / first.size(-1)) ** 0.5
        scalars = [torch.tensor(value) for value in (lr, group["weight_decay"], group["momentum"])]
        weber = WEBER_MODE != "off" and state["step"] >= WEBER_FIRST_STEP
        self.muon_update(own, g, state["m"], state["v"], weber, *scalars)
        gathered = self.ranks.gather(own)
        return lambda: torch._foreach_copy_(matrices, list(gathered.wait()[: len(matrices)].unbind()))


def build_optimizer(model: GPT, ranks: ProcessGroup) -> MuonAdamW:
    """Groups: head, tables, scalars and perhaps gates by AdamW; matrices by Muon, one group a shape."""
    by_width = (model.config["width"] / 768) ** -0.5
    kinds = ("head", "embedding", "lookup", "value_tables", "ngram_tables", "gates")
    named: dict[str, list[nn.Parameter]] = {kind: [] for kind in kinds}
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            continue
        kind = "gates" if GATE_LR and name.endswith("map.weight") else name.split(".")[0]
        (named[kind] if kind in named else by_shape.setdefault(parameter.shape, [])).append(parameter)

    def adamw(
        params: list[nn.Parameter],
        lr: float,
        wd: float = 0.0,
        betas: tuple[float, float] = ADAM_BETAS,
        eps: float = 1e-10,
    ) -> dict[str, Any]:
        return {"kind": "adamw", "params": params, "lr": lr, "weight_decay": wd, "betas": betas, "eps": eps}

    scalars = [p for p in (model.resid_lambdas, model.backout_lambda) if p is not None]
    groups = [
        adamw(named["head"], UNEMBEDDING_LR * by_width, LM_HEAD_WD),
        adamw(named["embedding"], EMBEDDING_LR * by_width, EMBEDDING_WD),
        adamw(named["lookup"], LOOKUP_LR * by_width, EMBEDDING_WD),
        adamw(named["value_tables"], EMBEDDING_LR * by_width, VE_WD),
        adamw(named["ngram_tables"], NGRAM_LR * by_width, VE_WD, NGRAM_BETAS),
        adamw(named["gates"], GATE_LR),
        adamw(scalars, SCALAR_LR * 0.01, eps=SCALAR_EPS),
        adamw([model.x0_lambdas], SCALAR_LR, betas=(0.96, 0.95), eps=SCALAR_EPS),
    ]
    of_muon = {"kind": "muon", "lr": MATRIX_LR, "weight_decay": WEIGHT_DECAY}
    muon = [of_muon | {"params": parameters} for parameters in by_shape.values()]
    # Muon computes while the large tables travel between ranks: partly on their way there, partly back
    groups = [*muon[len(muon) // 2 :], *groups, *muon[: len(muon) // 2]]
    return MuonAdamW([group for group in groups if group["params"]], ranks)


def learning_rate_share(progress: float) -> float:
    """Share of the full rate at a progress of 0 to 1: warm-up, constant, linear warm-down."""
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1.0 - WARMDOWN_RATIO:
        return 1.0
    remaining = (1.0 - progress) / WARMDOWN_RATIO
    return remaining + (1.0 - remaining) * FINAL_LR_FRAC


def muon_momentum(step: int, progress: float) -> float:
    """Momentum: rises over the first steps, falls to its end value during the warm-down."""
    ramp = min(step / MUON_MOMENTUM_STEPS, 1.0) if MUON_MOMENTUM_STEPS else 1.0
    fall = max(0.0, (progress - 1.0 + WARMDOWN_RATIO) / WARMDOWN_RATIO) if WARMDOWN_RATIO else 0.0
    top = MUON_MOMENTUM + (MUON_MOMENTUM_END - MUON_MOMENTUM) * fall
    return (1 - ramp) * MUON_MOMENTUM_START + ramp * top


def set_schedule(optimizer: MuonAdamW, step: int, progress: float) -> None:
    """Writes rate, momentum and decay for the coming step into the groups."""
    share = learning_rate_share(progress)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share
        if group["kind"] == "muon":
            group["momentum"] = muon_momentum(step, progress)
            group["weight_decay"] = group["initial_wd"] * (1.0 - progress)


# === SECTION: setup ===

TYPICAL_MFU = 0.38  # of the presets on an H200


def accumulation_steps(context_length: int, world: int) -> int:
    """Forward passes per optimizer step. Raises ContractError when the sizes do not divide."""
    tokens = DEVICE_BATCH_SIZE * context_length * world
    if tokens > TOTAL_BATCH_SIZE or TOTAL_BATCH_SIZE % tokens:
        raise ContractError(
            f"TOTAL_BATCH_SIZE {TOTAL_BATCH_SIZE} is not a multiple of"
            f" DEVICE_BATCH_SIZE x context x devices = {tokens}"
        )
    return TOTAL_BATCH_SIZE // tokens


def expected_epochs(rows: TrainRows, budget: Budget, device: Device, world: int) -> float:
    """Passes over the rows that the budget lasts for, 0.0 where the device's speed is not known.

    By arithmetic from the device's peak, not by a clock, so that all runs of a machine decide alike.
    """
    config = model_config(rows.vocab_size, rows.context_length, rows.bos)
    with torch.device("meta"):
        flops_per_token = build_model(config).flops_per_token()
    tokens = budget.amount
    if budget.kind == "time":
        tokens *= device.peak_flops * TYPICAL_MFU * world / flops_per_token
    elif budget.kind == "flops":
        tokens /= flops_per_token
    return tokens / (rows.count * rows.context_length)


def attention_backend(name: str, length: int, device: Device, ranks: ProcessGroup) -> str:
    """ATTENTION, else the backend asked for; with `auto` the fastest here, which rank 0 finds out.

    It is timed for one typical shape, whatever is edited here: results of different backends are not
    compared, so all experiments of a machine should have the same one.
    """
    if ATTENTION and device.kind == "cuda":
        name = ATTENTION
    shape = AttentionShape(max(1, 2**17 // length), length, 4, 128, (length // 8, length), DOCUMENT_MASK)
    chosen = choose_timed(name, device.torch_device, shape).backend if ranks.leads else ""
    return ranks.name_from_leader(chosen)


def warm_up(model: GPT, optimizer: MuonAdamW, device: Device) -> None:
    """Compiles everything on throw-away data and state, then restores both, outside the budget."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    shape = (DEVICE_BATCH_SIZE, model.config["context_length"])
    tokens = torch.zeros(shape, dtype=torch.int64, device=device.torch_device)
    targets = tokens.clone()  # of its own: for one tensor given twice another graph would be compiled
    for step in range(WEBER_FIRST_STEP if WEBER_MODE != "off" else 2):
        set_schedule(optimizer, step, 0.0)
        model.loss(tokens, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.load_state_dict(kept)
    optimizer.state.clear()
    synchronize(device)


# === SECTION: training loop ===


def train(run: RunSpec) -> dict[str, Any]:
    """Trains one model within run.budget, writes the checkpoint and returns the run's figures."""
    began = time.monotonic()
    device = open_device(run.device, run.threads, local_rank())
    ranks = join_group(device.kind)
    seed_everything(run.seed)
    events = EventWriter(run.events_fd if ranks.leads else -1)
    rows = open_train_rows(Path(run.data_dir))
    accumulation = accumulation_steps(rows.context_length, ranks.world)

    config = model_config(rows.vocab_size, rows.context_length, rows.bos, device.kind == "cuda")
    if NGRAM_ORDER > 1 and (epochs := expected_epochs(rows, run.budget, device, ranks.world)) > NGRAM_EPOCHS:
        config["ngram_order"] = 1
        if ranks.leads:
            print(f"no n-gram tables: the budget lasts for about {epochs:.1f} passes over the rows")
    model = build_model(config)
    model.initialize(run.seed)
    model.to(device.torch_device)
    model.attention_backend = attention_backend(run.attention, rows.context_length, device, ranks)
    optimizer = build_optimizer(model, ranks)
    num_params = sum(p.numel() for p in model.parameters())
    flops_per_token = model.flops_per_token()
    clock = BudgetClock(run.budget, TOTAL_BATCH_SIZE, flops_per_token)
    if ranks.leads:
        what = f"{num_params / 1e6:.1f} M parameters, {model.attention_backend} attention on {device.name}"
        print(f"{what}; {time.monotonic() - began:.1f} s", flush=True)
    if run.compile == "on" or (run.compile == "auto" and device.compiles):
        model.compile_parts()
        optimizer.compile_parts()
        warm_up(model, optimizer, device)
        if ranks.leads:
            print(f"compiled; {time.monotonic() - began:.1f} s", flush=True)

    loader = TokenLoader(
        rows, DEVICE_BATCH_SIZE, run.seed, device.torch_device, ranks.rank, ranks.world, PREFETCH
    )
    memory = next((part for part in model.modules() if isinstance(part, Memory)), None)
    losses = LossReader(events)
    printed = time.monotonic()
    setup_seconds = printed - began
    clock.start()
    events.emit("start", step_tokens=TOTAL_BATCH_SIZE)
    try:
        while (progress := ranks.from_leader(clock.progress if clock.allows_step() else -1.0)) >= 0.0:
            loss_sum = torch.zeros((), device=device.torch_device)
            new_rows = []
            for _ in range(accumulation):
                tokens, targets = loader.next()
                if memory is not None and loader.epoch == 1:
                    new_rows.append(torch.stack([tokens, targets], dim=1))
                elif memory is not None:
                    memory.rows_return.fill_(True)
                loss = model.loss(tokens, targets) / (accumulation * ranks.world)
                loss.backward()
                loss_sum += loss.detach()
            if new_rows:
                memory.add(*ranks.gather(torch.cat(new_rows)).wait().unbind(dim=1))
            ranks.sum(loss_sum)
            set_schedule(optimizer, clock.num_steps, progress)
            optimizer.step()
            optimizer.zero_grad()
            if not PREFETCH:
                synchronize(device)
            losses.submit(clock.num_steps, loss_sum, {"progress": progress})
            clock.count_step()
            if ranks.leads and time.monotonic() - printed >= 1.0:
                printed = time.monotonic()
                line = f"step {clock.num_steps:5d}  {progress:6.1%}  loss {losses.last:.4f}"
                print(f"{line}  {clock.tokens / clock.seconds:,.0f} tokens/s", flush=True)
        final_loss = losses.finish()
        synchronize(device)
        clock.end()
    finally:
        loader.close()
        events.flush()
    events.emit("end", num_steps=clock.num_steps, tokens=clock.tokens, checksum=loader.checksum)

    flops_per_second = clock.tokens * flops_per_token / clock.seconds / ranks.world
    figures = {
        "initial_loss": losses.first,
        "final_loss": final_loss,
        "setup_seconds": setup_seconds,
        "training_seconds": clock.seconds,
        "total_seconds": time.monotonic() - began,
        "peak_memory_bytes": peak_memory_bytes(device),
        "mfu": flops_per_second / device.peak_flops if device.peak_flops else None,
        "tokens": clock.tokens,
        "num_steps": clock.num_steps,
        "num_params": num_params,
        "depth": DEPTH,
        "epoch": loader.epoch,
        "vocab_size": rows.vocab_size,
        "device": device.name,
        "devices": ranks.world,
        "attention": model.attention_backend,
        "seed": run.seed,
        "experiment_id": run.experiment_id,
    }
    if ranks.leads:
        save_checkpoint(Path(run.out_dir), model, config, **figures)
    events.emit("summary", **figures)
    ranks.leave()
    return figures


if __name__ == "__main__":
    from trainer.harness.by_hand import run_by_hand

    raise SystemExit(run_by_hand(__file__))
