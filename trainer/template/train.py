"""The one file of an experiment: hyperparameters, model, optimizer, setup, training loop.

Edit anything between the section marks. The contract (docs/candidate.md): importing this file has no
effect; build_model(config) returns a module whose forward maps int64 tokens [B, T] to logits [B, T, V];
train(run) trains within run.budget and writes a checkpoint. The score is computed by the trainer from
the checkpoint, never by this file. `python train.py` runs one experiment by hand.

Shapes: B rows, T tokens, V vocabulary, C width, H heads, D head width, L layers.
"""
# mypy: disable-error-code="arg-type,union-attr,no-any-return,no-untyped-call,list-item"

import math
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from trainer.harness.attention import MaskPlan, attend, choose_backend, document_ids, plan_masks
from trainer.harness.budget import BudgetClock
from trainer.harness.checkpoint import save_checkpoint
from trainer.harness.device import Device, open_device, peak_memory_bytes, seed_everything, synchronize
from trainer.harness.events import EventWriter
from trainer.harness.failures import ContractError, NotFiniteError
from trainer.harness.loader import TokenLoader, open_train_rows
from trainer.harness.run_spec import RunSpec

# === SECTION: hyperparameters ===

# Model
DEPTH = 8  # layers
ASPECT_RATIO = 80  # width = DEPTH * ASPECT_RATIO, rounded up to a multiple of HEAD_DIM
HEAD_DIM = 128
MLP_RATIO = 4  # hidden width of the MLP / width
MLP_ACTIVATION = "relu2"  # relu2, gelu or silu
WINDOW_PATTERN = "SSSSL"  # repeated over the layers: S short window, L full; the last layer is always full
SHORT_WINDOW_DIVISOR = 8  # short window = T / this
ROPE_BASE = 200_000
QK_NORM = True  # RMS norm on queries and keys, after rotary
VALUE_EMBEDDINGS = True  # gated token embeddings added to the values of every second layer
DOCUMENT_MASK = False  # attention stays inside a document
SOFTCAP = 15.0  # logits = SOFTCAP * tanh(z / SOFTCAP); 0 switches it off
INIT_SCALE = 0.68  # multiplies the uniform initialisation of matrices
RESID_LAMBDA_INIT = 1.0  # residual stream, per layer
X0_LAMBDA_INIT = 0.05  # share of the first embedding, per layer

# Batch
DEVICE_BATCH_SIZE = 64  # rows a forward pass takes
TOTAL_BATCH_SIZE = 2**17  # tokens an optimizer step takes

# Optimizer: AdamW for tables, head and scalars, Muon for matrices
EMBEDDING_LR = 0.9  # Adam rates but SCALAR_LR are scaled by (width / 768) ** -0.5
UNEMBEDDING_LR = 0.005
SCALAR_LR = 0.5
MATRIX_LR = 0.04  # scaled by sqrt(rows / columns) where rows exceed columns
ADAM_BETAS = (0.8, 0.95)
EMBEDDING_WD = 0.001
VE_WD = 0.003
LM_HEAD_WD = 0.01
WEIGHT_DECAY = 0.2  # matrices: cautious, falls to zero with progress
MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 200  # steps from the first to the second
MUON_ITERATIONS = 5  # of the polar decomposition, at most 5
NORMUON = True  # equalise the variance of rows (or columns) of the update
NORMUON_BETA2 = 0.95

# Schedule, as shares of the budget
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.75
FINAL_LR_FRAC = 0.05

# Weber bracket W = 1 - v^2 / (2 c^2) + v a / c^2 on every update: v momentum, a its change in one step
WEBER_MODE = "off"  # off; raw: gradient units, as first proposed; normalized: units of the second moment
WEBER_C_SQ = 1.0  # c^2: larger is subtler

# === SECTION: model ===


def model_config(vocab_size: int, context_length: int, bos: int) -> dict[str, Any]:
    """Everything build_model() needs, as JSON: the structural hyperparameters and the data's shape."""
    width = -(-DEPTH * ASPECT_RATIO // HEAD_DIM) * HEAD_DIM
    return {
        "vocab_size": vocab_size,
        "context_length": context_length,
        "bos": bos,
        "depth": DEPTH,
        "width": width,
        "head_dim": HEAD_DIM,
        "mlp_ratio": MLP_RATIO,
        "mlp_activation": MLP_ACTIVATION,
        "windows": layer_windows(context_length),
        "rope_base": ROPE_BASE,
        "qk_norm": QK_NORM,
        "value_embeddings": VALUE_EMBEDDINGS,
        "document_mask": DOCUMENT_MASK,
        "softcap": SOFTCAP,
    }


def layer_windows(context_length: int) -> list[int]:
    """Earlier keys in sight, per layer; context_length means all."""
    if not WINDOW_PATTERN or set(WINDOW_PATTERN) - set("SL"):
        raise ContractError(f"WINDOW_PATTERN must consist of S and L, not {WINDOW_PATTERN!r}")
    short = max(1, context_length // SHORT_WINDOW_DIVISOR)
    windows = [
        short if WINDOW_PATTERN[i % len(WINDOW_PATTERN)] == "S" else context_length for i in range(DEPTH)
    ]
    windows[-1] = context_length
    return windows


def norm(x: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last dimension, without weights."""
    return F.rms_norm(x, (x.size(-1),))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position on the two halves of each head: x [B, T, H, D], cos and sin [T, 1, D / 2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)


class Attention(nn.Module):
    """Causal attention; in every second layer a gated value embedding joins the values."""

    GATE_CHANNELS = 32

    def __init__(self, config: dict[str, Any], layer: int) -> None:
        super().__init__()
        width, self.head_dim = config["width"], config["head_dim"]
        self.heads = width // self.head_dim
        self.window = config["windows"][layer]
        self.qk_norm = config["qk_norm"]
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        has_values = config["value_embeddings"] and layer % 2 == (config["depth"] - 1) % 2
        self.gate = nn.Linear(self.GATE_CHANNELS, self.heads, bias=False) if has_values else None

    def forward(
        self,
        x: torch.Tensor,
        value_embedding: torch.Tensor | None,
        cos: torch.Tensor,
        sin: torch.Tensor,
        plan: MaskPlan,
    ) -> torch.Tensor:
        rows, length, width = x.shape
        shape = (rows, length, self.heads, self.head_dim)
        q, k, v = self.q(x).view(shape), self.k(x).view(shape), self.v(x).view(shape)
        if self.gate is not None and value_embedding is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.GATE_CHANNELS]))
            v = v + gate.unsqueeze(-1) * value_embedding.view(shape)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.qk_norm:
            q, k = norm(q), norm(k)
        q, k = q.to(v.dtype), k.to(v.dtype)
        mixed: torch.Tensor = self.out(attend(q, k, v, self.window, plan).reshape(rows, length, width))
        return mixed


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
        mixed: torch.Tensor = self.out(x)
        return mixed


class Block(nn.Module):
    """One layer: attention and MLP, each on the normed residual stream."""

    def __init__(self, config: dict[str, Any], layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)

    def forward(
        self,
        x: torch.Tensor,
        value_embedding: torch.Tensor | None,
        cos: torch.Tensor,
        sin: torch.Tensor,
        plan: MaskPlan,
    ) -> torch.Tensor:
        x = x + self.attention(norm(x), value_embedding, cos, sin, plan)
        mixed: torch.Tensor = x + self.mlp(norm(x))
        return mixed


class GPT(nn.Module):
    """Decoder-only transformer: forward maps int64 [B, T] to logits [B, T, V], float32."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        depth, width, vocab_size = config["depth"], config["width"], config["vocab_size"]
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(depth))
        self.value_embeddings = nn.ModuleDict(
            {
                str(i): nn.Embedding(vocab_size, width)
                for i, b in enumerate(self.blocks)
                if b.attention.gate is not None
            }
        )
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.resid_lambdas = nn.Parameter(torch.ones(depth))
        self.x0_lambdas = nn.Parameter(torch.zeros(depth))
        cos, sin = self._rotary_tables(config["context_length"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.attention_backend = ""
        self.body: Any = self._layers  # replaced by its compiled form where that pays

    @torch.no_grad()
    def initialize(self) -> None:
        """Initial weights; both output projections of a layer and all gates start at zero."""
        bound = INIT_SCALE * math.sqrt(3.0 / self.config["width"])
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.head.weight, std=0.001)
        for block in self.blocks:
            attention, mlp = block.attention, block.mlp
            for matrix in (attention.q, attention.k, attention.v, mlp.up):
                nn.init.uniform_(matrix.weight, -bound, bound)
            nn.init.zeros_(attention.out.weight)
            nn.init.zeros_(mlp.out.weight)
            if attention.gate is not None:
                nn.init.zeros_(attention.gate.weight)
        for table in self.value_embeddings.values():
            nn.init.uniform_(table.weight, -bound, bound)
        self.resid_lambdas.fill_(RESID_LAMBDA_INIT)
        self.x0_lambdas.fill_(X0_LAMBDA_INIT)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        config = self.config
        if not self.attention_backend:
            self.attention_backend = choose_backend("auto", tokens.device.type, config["document_mask"])
        documents = document_ids(tokens, config["bos"]) if config["document_mask"] else None
        windows = tuple(config["windows"])
        plan = plan_masks(self.attention_backend, tokens.size(1), windows, documents, tokens.device)
        logits: torch.Tensor = self.body(tokens, plan)
        return logits

    def _layers(self, tokens: torch.Tensor, plan: MaskPlan) -> torch.Tensor:
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=tokens.device.type == "cuda"):
            length = tokens.size(1)
            cos, sin = self.cos[:length], self.sin[:length]
            x = norm(self.embedding(tokens))
            x0 = x
            for i, block in enumerate(self.blocks):
                x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * x0
                table = dict(self.value_embeddings.items()).get(str(i))
                x = block(x, None if table is None else table(tokens), cos, sin, plan)
            logits = self.head(norm(x)).float()
        softcap = self.config["softcap"]
        return softcap * torch.tanh(logits / softcap) if softcap else logits

    def _rotary_tables(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        half = self.config["head_dim"] // 2
        frequencies = self.config["rope_base"] ** -(torch.arange(half, dtype=torch.float32) / half)
        angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
        return angles.cos()[:, None, :], angles.sin()[:, None, :]

    def flops_per_token(self) -> float:
        """Floating-point operations of forward and backward for one token: matrices and attention."""
        matrices = sum(p.numel() for b in self.blocks for p in b.parameters()) + self.head.weight.numel()
        seen = sum(min(window, self.config["context_length"]) for window in self.config["windows"])
        return 6.0 * matrices + 12.0 * self.config["width"] * seen


def build_model(config: dict[str, Any]) -> nn.Module:
    """The model for a checkpoint's config, weights not yet loaded."""
    model = GPT(config)
    if torch.cuda.is_available():
        for table in (model.embedding, *model.value_embeddings.values()):
            table.to(torch.bfloat16)
    return model


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


def weber_bracket(v: torch.Tensor, a: torch.Tensor, mode: str, c_sq: float) -> torch.Tensor:
    """W = 1 - v^2 / (2 c^2) + v a / c^2 in float32, clamped: a negative W would reverse the step."""
    v, a = v.float(), a.float()
    w = 1.0 - v.square() / (2.0 * c_sq) + v * a / c_sq
    return w.clamp(0.0, 2.0) if mode == "raw" else w.clamp(0.5, 1.5)


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


class MuonAdamW:
    """AdamW and Muon in one; each parameter group names its `kind`, adamw or muon.

    Muon groups hold matrices of one shape, which are stacked: momentum with Nesterov look-ahead,
    orthogonalisation, variance equalisation, cautious decay. The Weber bracket needs no state: with
    m = b m' + (1 - b) g, the acceleration m - m' is (1 - b) / b * (g - m).
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        self.param_groups = groups
        self.state: dict[nn.Parameter, dict[str, Any]] = {}
        for group in groups:
            group["initial_lr"], group["initial_wd"] = group["lr"], group["weight_decay"]

    @torch.no_grad()
    def step(self) -> None:
        """Applies the gradients with the rates that stand in the groups."""
        for group in self.param_groups:
            if group["kind"] == "muon":
                self._muon_step(group)
            else:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._adamw_step(parameter, group)

    def zero_grad(self) -> None:
        """Frees all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _adamw_step(self, p: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state.setdefault(p, {})
        if not state:
            state["step"] = 0
            state["m"] = torch.zeros_like(p)
            state["v"] = torch.zeros_like(p)
        state["step"] += 1
        assert p.grad is not None
        g, m, v = p.grad, state["m"], state["v"]
        beta1, beta2 = group["betas"]
        m.lerp_(g, 1 - beta1)
        v.lerp_(g.square(), 1 - beta2)
        bias1, bias2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        scale = (v / bias2).sqrt_().add_(group["eps"])
        update = m / bias1 / scale
        if WEBER_MODE != "off" and state["step"] >= WEBER_FIRST_STEP:
            a = (g - m) * ((1 - beta1) / beta1)
            unit = bias1 * scale if WEBER_MODE == "normalized" else torch.ones_like(scale)
            update = update * weber_bracket(m / unit, a / unit, WEBER_MODE, WEBER_C_SQ).to(update.dtype)
        p.mul_(1 - group["lr"] * group["weight_decay"])
        p.add_(update, alpha=-group["lr"])

    def _muon_step(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        g = torch.stack([p.grad for p in parameters if p.grad is not None])
        stacked = torch.stack([p.detach() for p in parameters])
        state = self.state.setdefault(parameters[0], {})
        tall = g.size(-2) >= g.size(-1)
        if not state:
            state["step"] = 0
            state["m"] = torch.zeros_like(g)
            state["v"] = torch.zeros_like(g[..., :1] if tall else g[..., :1, :], dtype=torch.float32)
        state["step"] += 1
        m, momentum = state["m"], group["momentum"]
        m.lerp_(g, 1 - momentum)
        update = orthogonalize(g.lerp(m, momentum), MUON_ITERATIONS).float()
        if NORMUON:
            update = equalize_variance(update, state["v"], -1 if tall else -2)
        if WEBER_MODE != "off" and state["step"] >= WEBER_FIRST_STEP:
            update = update * matrix_weber_bracket(g, m, momentum)
        lr = group["lr"] * max(1.0, g.size(-2) / g.size(-1)) ** 0.5
        agrees = (update * stacked) >= 0
        stacked.sub_(lr * update + lr * group["weight_decay"] * stacked * agrees)
        for parameter, value in zip(parameters, stacked, strict=True):
            parameter.copy_(value)


def matrix_weber_bracket(g: torch.Tensor, m: torch.Tensor, momentum: float) -> torch.Tensor:
    """One W per matrix of a stack, [N, 1, 1], from means over the matrix."""
    g, m = g.float(), m.float()
    a = (g - m) * ((1 - momentum) / momentum)
    v_sq = m.square().mean(dim=(-2, -1), keepdim=True)
    va = (m * a).mean(dim=(-2, -1), keepdim=True)
    if WEBER_MODE == "normalized":
        unit = g.square().mean(dim=(-2, -1), keepdim=True) + 1e-20
        v_sq, va = v_sq / unit, va / unit
    w = 1.0 - v_sq / (2.0 * WEBER_C_SQ) + va / WEBER_C_SQ
    return w.clamp(0.0, 2.0) if WEBER_MODE == "raw" else w.clamp(0.5, 1.5)


def equalize_variance(update: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    """Scales rows (dim -1) or columns (dim -2) to equal variance, the norm of each matrix kept."""
    count = update.size(dim)
    mean_sq = update.square().mean(dim=dim, keepdim=True)
    before = (mean_sq.sum(dim=(-2, -1), keepdim=True) * count).sqrt()
    second.lerp_(mean_sq, 1 - NORMUON_BETA2)
    scale = second.clamp_min(1e-10).rsqrt()
    after = (mean_sq * scale.square()).sum(dim=(-2, -1), keepdim=True).mul(count).sqrt()
    return update * (scale * (before / after.clamp_min(1e-10)))


def build_optimizer(model: GPT) -> MuonAdamW:
    """Groups: head, tables, value tables, gates and scalars by AdamW; matrices by Muon, one group a shape."""
    by_width = (model.config["width"] / 768) ** -0.5
    embedding_lr = EMBEDDING_LR * by_width
    x0_betas = (0.96, 0.95)

    def adamw(
        params: list[nn.Parameter], lr: float, decay: float, betas: tuple[float, float]
    ) -> dict[str, Any]:
        return {
            "kind": "adamw",
            "params": params,
            "lr": lr,
            "weight_decay": decay,
            "betas": betas,
            "eps": 1e-10,
        }

    groups = [
        adamw([model.head.weight], UNEMBEDDING_LR * by_width, LM_HEAD_WD, ADAM_BETAS),
        adamw([model.embedding.weight], embedding_lr, EMBEDDING_WD, ADAM_BETAS),
        adamw([model.resid_lambdas], SCALAR_LR * 0.01, 0.0, ADAM_BETAS),
        adamw([model.x0_lambdas], SCALAR_LR, 0.0, x0_betas),
    ]
    if len(model.value_embeddings):
        tables = [table.weight for table in model.value_embeddings.values()]
        groups.append(adamw(tables, embedding_lr, VE_WD, ADAM_BETAS))
    by_shape: dict[torch.Size, list[nn.Parameter]] = {}
    for parameter in model.blocks.parameters():
        by_shape.setdefault(parameter.shape, []).append(parameter)
    for parameters in by_shape.values():
        groups.append({"kind": "muon", "params": parameters, "lr": MATRIX_LR, "weight_decay": WEIGHT_DECAY})
    return MuonAdamW(groups)


def learning_rate_share(progress: float) -> float:
    """Share of the full rate at a progress of 0 to 1: warm-up, constant, linear warm-down."""
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1.0 - WARMDOWN_RATIO:
        return 1.0
    remaining = (1.0 - progress) / WARMDOWN_RATIO
    return remaining + (1.0 - remaining) * FINAL_LR_FRAC


def set_schedule(optimizer: MuonAdamW, step: int, progress: float) -> None:
    """Writes rate, momentum and decay for the coming step into the groups."""
    share = learning_rate_share(progress)
    ramp = min(step / MUON_MOMENTUM_STEPS, 1.0) if MUON_MOMENTUM_STEPS else 1.0
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share
        if group["kind"] == "muon":
            group["momentum"] = (1 - ramp) * MUON_MOMENTUM_START + ramp * MUON_MOMENTUM
            group["weight_decay"] = group["initial_wd"] * (1.0 - progress)


# === SECTION: setup ===


def compute_loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats of targets [B, T] given inputs [B, T]."""
    logits = model(inputs)
    return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def accumulation_steps(context_length: int) -> int:
    """Forward passes per optimizer step. Raises ContractError when the sizes do not divide."""
    tokens = DEVICE_BATCH_SIZE * context_length
    if TOTAL_BATCH_SIZE % tokens:
        raise ContractError(
            f"TOTAL_BATCH_SIZE {TOTAL_BATCH_SIZE} is not a multiple of DEVICE_BATCH_SIZE x context = {tokens}"
        )
    return TOTAL_BATCH_SIZE // tokens


def warm_up(model: GPT, optimizer: MuonAdamW, vocab_size: int, device: Device) -> None:
    """Compiles everything on throw-away data and state, then restores both, outside the budget."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    shape = (DEVICE_BATCH_SIZE, model.config["context_length"])
    tokens = torch.zeros(shape, dtype=torch.int64, device=device.torch_device)
    for step in range(2):
        set_schedule(optimizer, step, 0.0)
        compute_loss(model, tokens, tokens).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.load_state_dict(kept)
    optimizer.state.clear()
    synchronize(device)


class LossReader:
    """Reads losses from the device a few steps late, so that reading never makes the device wait."""

    LAG = 2

    def __init__(self, events: EventWriter) -> None:
        self.first = self.last = math.nan
        self._recent: list[float] = []
        self._events = events
        self._waiting: list[tuple[int, torch.Tensor, Any, dict[str, float]]] = []

    def submit(self, step: int, loss: torch.Tensor, values: dict[str, float]) -> None:
        """Takes the mean loss of a step; raises NotFiniteError for an earlier step's bad loss."""
        event = None
        if loss.is_cuda:
            loss = loss.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._waiting.append((step, loss, event, values))
        while len(self._waiting) > (self.LAG if event is not None else 0):
            self._take()

    def finish(self) -> float:
        """Takes the rest and returns the mean loss of the last ten steps."""
        while self._waiting:
            self._take()
        return sum(self._recent) / max(len(self._recent), 1)

    def _take(self) -> None:
        step, loss, event, values = self._waiting.pop(0)
        if event is not None:
            event.synchronize()
        self.last = loss.item()
        if step == 0:
            self.first = self.last
        self._recent = [*self._recent[-9:], self.last]
        self._events.metric(step, {"loss": self.last, **values})
        if not self.last <= 100.0:  # true for NaN too
            raise NotFiniteError(f"the loss of step {step} is {self.last}")


# === SECTION: training loop ===


def train(run: RunSpec) -> dict[str, Any]:
    """Trains one model within run.budget, writes the checkpoint and returns the run's figures."""
    began = time.monotonic()
    device = open_device(run.device, run.threads)
    seed_everything(run.seed)
    events = EventWriter(run.events_fd)
    rows = open_train_rows(Path(run.data_dir))
    accumulation = accumulation_steps(rows.context_length)

    config = model_config(rows.vocab_size, rows.context_length, rows.bos)
    model = build_model(config)
    assert isinstance(model, GPT)
    model.initialize()
    model.to(device.torch_device)
    model.attention_backend = choose_backend(run.attention, device.kind, DOCUMENT_MASK)
    optimizer = build_optimizer(model)
    num_params = sum(p.numel() for p in model.parameters())
    flops_per_token = model.flops_per_token()
    clock = BudgetClock(run.budget, TOTAL_BATCH_SIZE, flops_per_token)
    print(
        f"{num_params / 1e6:.1f} M parameters, width {config['width']}, attention {model.attention_backend}, {device.name}"
    )
    if run.compile == "on" or (run.compile == "auto" and device.compiles):
        model.body = torch.compile(model.body, dynamic=False)
        warm_up(model, optimizer, rows.vocab_size, device)

    loader = TokenLoader(rows, DEVICE_BATCH_SIZE, run.seed, device.torch_device)
    losses = LossReader(events)
    printed = time.monotonic()
    clock.start()
    events.emit("start", step_tokens=TOTAL_BATCH_SIZE)
    try:
        while clock.allows_step():
            progress = clock.progress
            loss_sum = torch.zeros((), device=device.torch_device)
            for _ in range(accumulation):
                inputs, targets = loader.next()
                loss = compute_loss(model, inputs, targets) / accumulation
                loss.backward()
                loss_sum += loss.detach()
            set_schedule(optimizer, clock.num_steps, progress)
            optimizer.step()
            optimizer.zero_grad()
            losses.submit(clock.num_steps, loss_sum, {"progress": progress})
            clock.count_step()
            if time.monotonic() - printed >= 1.0:
                printed = time.monotonic()
                rate = clock.tokens / clock.seconds
                print(
                    f"step {clock.num_steps:5d}  {progress:6.1%}  loss {losses.last:.4f}  {rate:,.0f} tokens/s",
                    flush=True,
                )
        final_loss = losses.finish()
        synchronize(device)
        clock.end()
    finally:
        loader.close()
        events.flush()
    events.emit("end", num_steps=clock.num_steps, tokens=clock.tokens, checksum=loader.checksum)

    figures = {
        "initial_loss": losses.first,
        "final_loss": final_loss,
        "training_seconds": clock.seconds,
        "total_seconds": time.monotonic() - began,
        "peak_memory_bytes": peak_memory_bytes(device),
        "mfu": clock.tokens * flops_per_token / clock.seconds / device.peak_flops
        if device.peak_flops
        else None,
        "tokens": clock.tokens,
        "num_steps": clock.num_steps,
        "num_params": num_params,
        "depth": DEPTH,
        "epoch": loader.epoch,
        "vocab_size": rows.vocab_size,
        "device": device.name,
        "attention": model.attention_backend,
        "seed": run.seed,
        "experiment_id": run.experiment_id,
    }
    save_checkpoint(Path(run.out_dir), model, config, **figures)
    events.emit("summary", **figures)
    return figures


if __name__ == "__main__":
    from trainer.harness.by_hand import run_by_hand

    raise SystemExit(run_by_hand(__file__))
