"""The knobs and ideas of training language models: what they are called, and what people say of them.

An entry is one concept: its key, its names in notes (whole terms), and after the bar the words by which
somebody describes it who does not use its name; further lines of it are indented. It is the field's
vocabulary as textbooks and manuals have it, not a table of anybody's notes; docs/retrieval.md says what it
is worth, measured.
"""

from __future__ import annotations

OPTIMISATION = """
matrix-lr: matrix lr, muon lr, muon learning rate, hidden lr | learning rate step size speed fast learns
  muon weight matrix matrices hidden linear two-dimensional parameters
embedding-lr: embedding lr, wte lr, embed lr, token embedding lr | learning rate step size speed fast
  quickly learns embedding embeddings token input vocabulary table lookup wte vectors
unembedding-lr: unembedding lr, lm head lr, head lr, output lr | learning rate step size speed fast quickly
  learns unembedding output head lm_head projection final last layer classifier logits vocabulary
scalar-lr: scalar lr, scalars lr, residual lr, gain lr | learning rate step size speed fast quickly learns
  scalar scalars gains per-layer residual lambda multipliers coefficients one-dimensional parameters
adam-lr: adam lr, adamw lr | learning rate step size adam adamw
warmup: warmup, warmup ratio, warmup steps, warm up, lr warmup, warmup fraction | ramp ramps rise rises
  grows slowly gradually linear increase start beginning early first initial steps before full peak learning
  rate step size
warmdown: warmdown, cooldown, warmdown ratio, cooldown ratio, lr decay, cool down, warm down, decay phase,
  lr cooldown, anneal, annealing, linear decay | cools cooling anneals annealed ramp falls drops fades
  lowers shrinks decay decays end ending final last part tail portion fraction share length long duration
  phase run training zero learning rate
final-lr: final lr, min lr, final lr frac, minimum lr, end lr, lr floor | floor lowest minimum end ends
  finish fraction of the peak learning rate not zero
schedule: lr schedule, cosine schedule, schedule shape, trapezoidal, wsd, cosine decay, cosine annealing,
  inverse square root, one cycle | shape curve form learning rate over time cosine linear constant
weight-decay: weight decay, wd, decoupled weight decay | l2 penalty shrink shrinks shrinkage pull pulls
  towards zero regularization regularisation regularizer regularise parameters weights small norm
total-batch: total batch, total batch size, global batch, effective batch, batch size, batch tokens | tokens
  sequences examples per optimizer step update each gradient total whole overall across devices all
device-batch: device batch, device batch size, micro batch, microbatch, per device batch | sequences
  examples rows fit per forward backward pass one single device gpu card at once memory
grad-accum: gradient accumulation, grad accum, accumulation steps | accumulate several micro batches before
  one update
momentum: momentum, muon momentum, nesterov, beta1, adam beta1, heavy ball | velocity past previous
  gradients accumulated memory carried over running average first moment smoothing coefficient updates muon
beta2: beta2, adam beta2, second moment, adam betas | squared gradients variance moving running average
  exponential decay horizon window estimate adaptive denominator adam second
epsilon: adam eps, epsilon, eps | small constant denominator numerical stability adam
ns-steps: newton schulz, newton schulz steps, ns steps, polar express | iterations number count rounds
  orthogonalization orthogonalisation orthogonalise orthogonalize orthogonalizing polynomial polar muon
  steps
muon: muon, shampoo, soap, orthogonalized update | optimizer orthogonal matrix update
adam: adam, adamw, adafactor, lion, sophia, sgd | optimizer optimiser
grad-clip: grad clip, gradient clipping, clip grad, grad norm clip, max grad norm, clip norm | clip clipping
  cap limit bound ceiling threshold maximum largest norm size magnitude length gradient gradients exploding
  explosion spikes spike
ema: ema, ema decay, weight averaging, polyak, swa, model averaging, checkpoint averaging, lookahead |
  exponential moving average averaging averaged running smoothed weights parameters shadow copy checkpoints
  stochastic
label-smoothing: label smoothing, smoothed labels | soft targets
z-loss: z loss, auxiliary loss | penalty log partition normalizer softmax logits
cautious: cautious, cautious weight decay, cautious update | mask sign agrees gradient update
grad-noise: gradient noise | noise added gradients
loss-scale: loss scale, loss weighting, token weighting | weight tokens positions loss
sam: sam, sharpness aware | flat minima perturbation
"""

ARCHITECTURE = """
head-dim: head dim, head dimension, head size, dim per head | width size dimension dimensions channels
  features wide of each one single attention head
head-count: n head, n heads, number of heads, num heads, head count | number count how many parallel
  attention heads
kv-heads: kv heads, n kv head, gqa, mqa, grouped query attention, multi query | shared keys values groups
  query heads
aspect-ratio: aspect ratio, width to depth, model dim, d model, n embd, embedding dim, hidden size, model
  width | width wide width-to-depth model residual stream dimension channels hidden relative ratio per layer
  proportion shape
depth: n layer, n layers, number of layers, layer count, num layers | how many layers blocks stacked
  transformer deep deeper
window: window pattern, sliding window, window size, attention window, short window, local attention | local
  global near nearby neighbouring recent only short long full span range context attention attend layers see
  pattern mix alternate alternating limited sliding banded
rope: rope, rope base, rope theta, rotary, rotary base, rotary embedding | rotation rotations rotary
  position positions positional encoding frequency frequencies wavelength wavelengths period base angle
  theta
positions: alibi, nope, learned positions, sinusoidal | positional encoding positions
softcap: softcap, logit softcap, logit cap, soft cap, soft capping | cap capping bound bounding bounded
  limit squash squashes squashing tanh output outputs scores logits prediction final large
mlp-ratio: mlp ratio, ffn ratio, ffn dim, mlp dim, mlp width, expansion factor, intermediate size, feed
  forward | feed-forward feedforward hidden inner expansion width wide size factor mlp ffn block
activation: activation, relu, relu squared, gelu, swiglu, silu, geglu, squared relu | nonlinearity
  non-linearity activation function gate
context: seq len, sequence length, context length, max seq len, block size, context window, context size |
  how long many tokens far back model sees looks reads attends remembers past history input training
  sequence sequences
value-embeds: value embeds, value embedding, value embeddings, ve | extra additional second token embeddings
  tables lookup mixed added into attention values gated gate
residual: residual lambdas, residual scale, skip connection, x0 lambda, layerscale, rezero, unet skip, u net
  | residual stream skip connections shortcut scale mix first layer input
dropout: dropout, drop rate, attention dropout, dropout rate | drop drops dropping dropped randomly random
  zero zeroing zeroed mask masked masking switching off units neurons activations probability noise
init: init, init scale, init std, initialization, initialisation, init gain, xavier, kaiming | initial
  initialise initialize starting start spread standard deviation std variance scale size magnitude random
  weights before training beginning
zero-init: zero init, zero initialization, zero projection | output projections start zero
qk-norm: qk norm, qk norm gain, qk gain, query key norm, qk scale, attention temperature, softmax scale |
  normalised normalized normalization normalising queries query keys key dot product scale scaling sharpness
  temperature attention logits scores softmax gain
norm: rmsnorm, layernorm, layer norm, rms norm, post norm, pre norm, norm type, sandwich norm |
  normalization normalisation layer placement
tied: tied embeddings, weight tying, tie embeddings, untied | share same matrix input output embedding
vocab: vocab size, vocabulary size, bpe vocab, tokenizer vocab | number of tokens entries in vocabulary merges
bias: bias, bias terms, attention bias, no bias | offset additive terms in linear layers
moe: moe, mixture of experts, experts, router, expert count | experts routing sparse gate top k
ssm: mamba, state space, ssm, rwkv, linear attention, retnet | recurrent recurrence linear time instead of
  attention
mtp: multi token prediction, mtp | predict several next future tokens at once
parallel-block: parallel block, parallel attention mlp, parallel layers | attention and mlp computed side by
  side
conv: short convolution, canon layer, conv, token shift, smear | mix with previous neighbouring token
attention-gate: attention gate, gated attention, head gate, attention sink | gate output heads
mla: mla, latent attention, low rank | compressed keys values latent rank
layer-drop: stochastic depth, drop path, layer drop, layer dropout | skip whole layers blocks at random
layer-sharing: layer sharing, weight sharing, looped, recurrent depth, universal transformer | reuse same
  layers several times
"""

RUN = """
time-budget: time budget, budget, wall clock, training time | minutes seconds hours long run duration
precision: bf16, fp8, fp16, float32, precision, mixed precision, tf32, quantization | number format bits
  numeric half
compile: compile, torch compile, flash attention, fused kernel, kernel, flex attention | speed throughput
  faster kernels tokens per second
checkpointing: activation checkpointing, gradient checkpointing | recompute save memory activations
data-order: curriculum, data order, shuffle, data mix, data filtering, packing, document masking | order of
  the documents examples easy hard mixture
distillation: distillation, teacher, knowledge distillation | teacher student soft targets
seed: seed, seeds, replicates | random number repeat noise variance between runs
prune: pruning, sparsity, sparse, lottery ticket | remove weights zero
augment: augmentation, mixup, cutmix, noise tokens, token masking | perturb inputs
"""

OUTCOMES = """
loss: bpb, val bpb, bits per byte, loss, perplexity, validation loss
out-of-memory: oom, out of memory, memory error, cuda memory
diverged: nan, diverged, divergence, exploded, blew up, inf
"""

DIRECTIONS = """
raise: raise, raised, raising, increase, increased, increasing, bumped, larger, higher, bigger, greater,
  grow, up, more, longer, wider, deeper
lower: lower, lowered, lowering, reduce, reduced, reducing, cut, decrease, decreased, smaller, shorter,
  less, shrink, narrower, fewer
"""

PARTS = (OPTIMISATION, ARCHITECTURE, RUN, OUTCOMES, DIRECTIONS)
