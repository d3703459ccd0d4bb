"""`python -m trainer.harness.serve TRAIN_PY CHECKPOINT_DIR`: the candidate's side of evaluation.

Loads the candidate in a fresh process, builds its model from the checkpoint's config, loads the weights
strictly and answers logits over the channel of logit_channel. What the candidate prints goes to stderr.
"""

import argparse
import mmap
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.harness.failures import ContractError, classify_failure
from trainer.harness.launch import prepare_threads
from trainer.harness.logit_channel import HELLO, LogitServer
from trainer.harness.pages import touch_pages

if TYPE_CHECKING:
    import torch


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    reply_fd = options.reply_fd
    if reply_fd == 1:
        reply_fd = os.dup(1)
        os.dup2(2, 1)
    memory = mmap.mmap(options.memory_fd, options.memory_bytes) if options.memory_fd >= 0 else None
    server = LogitServer(options.request_fd, reply_fd, memory)
    prepare_threads(options.threads)
    if options.hold:
        import torch  # noqa: F401  what takes longest, and is no code of the candidate's

        if options.device == "cpu" and memory is not None:
            touch_pages(memory)
        if not server.hold():
            return 0
    try:
        model, device, vocabulary = load_model(
            options.train_py, options.checkpoint, options.device, options.threads
        )
        if options.compile == "on":
            compile_model(model)
        if device.type == "cuda":
            choose_attention(model, options.attention, compiled=options.compile == "on")
        if options.device_fd >= 0 and device.type == "cuda":
            memory_of = options.device_fd, options.device_floats
            server.offer(DeviceLogits(*memory_of, model, device, vocabulary))
        server.ready(vocabulary)
        server.serve(lambda tokens: compute_logits(model, tokens, device, vocabulary))
    except Exception as error:
        try:
            server.failed(classify_failure(error), f"{type(error).__name__}: {error}")
        except OSError:
            pass
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def load_model(
    train_py: Path, checkpoint: Path, device_name: str, threads: int
) -> "tuple[torch.nn.Module, torch.device, int]":
    """The candidate's model in evaluation mode, its device, and the vocabulary size of its config."""
    from trainer.harness.candidate import load_candidate
    from trainer.harness.checkpoint import load_weights, read_description
    from trainer.harness.device import open_device

    device = open_device(device_name, threads).torch_device
    config = read_description(checkpoint)["config"]
    model = load_candidate(train_py).build_model(config)
    load_weights(checkpoint, model)
    return model.to(device).eval(), device, int(config.get("vocab_size", 0))


def compile_model(model: "torch.nn.Module") -> None:
    """Compiles as the model itself does for training (`compile_parts()`, so that one cache serves both), or
    all of it where it has no such method. Shapes are compiled as they come."""
    own = getattr(model, "compile_parts", None)
    if callable(own):
        own()
    else:
        model.compile(dynamic=False)


def choose_attention(model: "torch.nn.Module", name: str, compiled: bool) -> None:
    """Names the attention backend of a model that leaves it open (`attention_backend` is empty), on CUDA.

    auto is varlen for an uncompiled model, where it works: it has nothing to compile. Else the model's own.
    """
    from trainer.harness.attention_varlen import varlen_runs

    changed: Any = model
    if getattr(model, "attention_backend", None) != "":
        return
    if name != "auto":
        changed.attention_backend = name
    elif not compiled and varlen_runs():
        changed.attention_backend = "varlen"


def forward_logits(
    model: "torch.nn.Module", tokens: npt.NDArray[np.int32], device: "torch.device", vocabulary: int
) -> "torch.Tensor":
    """Logits [B, T, V] of int32 tokens [B, T] on the device. Raises ContractError for another shape."""
    import torch

    with torch.inference_mode():
        answer = model(torch.from_numpy(tokens.astype(np.int64)).to(device))
    if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != (*tokens.shape, vocabulary):
        shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ContractError(f"forward() must return [B, T, V] = {(*tokens.shape, vocabulary)}, not {shape}")
    return answer


def compute_logits(
    model: "torch.nn.Module", tokens: npt.NDArray[np.int32], device: "torch.device", vocabulary: int
) -> npt.NDArray[np.float32]:
    """Float32 logits [B, T, V] of int32 tokens [B, T]. Raises ContractError for another shape or type."""
    answer = forward_logits(model, tokens, device, vocabulary)
    result: npt.NDArray[np.float32] = answer.float().cpu().contiguous().numpy()
    return result


class DeviceLogits:
    """Answers into CUDA memory that the evaluator made and passed on as a descriptor."""

    def __init__(
        self, descriptor: int, floats: int, model: "torch.nn.Module", device: "torch.device", vocabulary: int
    ) -> None:
        self._descriptor, self._floats = descriptor, floats
        self._model, self._device, self._vocabulary = model, device, vocabulary
        self._memory: torch.Tensor | None = None

    def open(self) -> None:
        """Maps the memory and leaves HELLO at its beginning. Raises DeviceMemoryError."""
        import torch

        from trainer.harness.shared_device_memory import open_shared_floats

        shared = open_shared_floats(self._descriptor, self._floats, self._device.index or 0)
        self._memory = torch.as_tensor(shared, device=self._device)
        self._memory[:1].fill_(HELLO)
        torch.cuda.synchronize(self._device)

    def answer(self, tokens: npt.NDArray[np.int32]) -> None:
        """Float32 logits [B, T, V] from the beginning of the memory on, all of it written on return."""
        import torch

        assert self._memory is not None
        logits = forward_logits(self._model, tokens, self._device, self._vocabulary)
        with torch.inference_mode():
            self._memory[: logits.numel()].view(logits.shape).copy_(logits)
        torch.cuda.synchronize(self._device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer.harness.serve")
    parser.add_argument("train_py", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--request-fd", type=int, default=0)
    parser.add_argument("--reply-fd", type=int, default=1)
    parser.add_argument(
        "--memory-fd", type=int, default=-1, help="-1: tokens and logits go through the pipes"
    )
    parser.add_argument("--hold", action="store_true", help="load nothing of the candidate before BEGIN")
    parser.add_argument("--memory-bytes", type=int, default=0)
    parser.add_argument(
        "--device-fd", type=int, default=-1, help="CUDA memory for logits, where there is any"
    )
    parser.add_argument("--device-floats", type=int, default=0)
    parser.add_argument("--compile", choices=["off", "on"], default="off", help="compile the forward pass")
    parser.add_argument("--attention", default="auto", help="backend of a model that leaves it open")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
