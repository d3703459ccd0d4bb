"""Which attention backend is fastest here: timed once per machine, kept in a file.

The file stands beside the compile cache (TORCHINDUCTOR_CACHE_DIR), so that it is shared and shipped with it;
where that is not set, in ~/.cache/autoresearch. Where it cannot be read, the choice is timed; where it
cannot be written, it is used for this run all the same.
"""

import hashlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from trainer.harness.attention import (
    CUDNN,
    attend,
    choose_backend,
    document_ids,
    plan_masks,
    working_backends,
)

REPEATS = 8
CALLS = 3  # between two waits, so that the launch of one hides behind the work of another
MOST_ROWS = 64  # enough to fill a device; more would only take longer


@dataclass(frozen=True)
class AttentionShape:
    """What attention will see: rows B and tokens T of a forward pass, heads H, head width D, the window of
    each layer, and whether documents are masked."""

    rows: int
    length: int
    heads: int
    head_dim: int
    windows: tuple[int, ...]
    documents: bool = False


@dataclass(frozen=True)
class Choice:
    """The backend, how it was found (asked, order, timed, cached) and the seconds of those that were timed to
    the end: forward and backward of all layers."""

    backend: str
    how: str
    seconds: dict[str, float]


def choose_timed(name: str, device: torch.device, shape: AttentionShape, cache: Path | None = None) -> Choice:
    """The backend for a shape: a named one as asked, on CUDA the fastest of those that work.

    Raises ContractError like choose_backend.
    """
    if name != "auto" or device.type != "cuda":
        backend = choose_backend(name, device.type, shape.documents)
        return Choice(backend, "asked" if name != "auto" else "order", {})
    key = choice_key(torch.cuda.get_device_name(device), torch.__version__, shape)
    path = (cache_folder() if cache is None else cache) / choice_file(key)
    found = read_choice(path, key)
    if found is not None:
        return found
    candidates = list(_candidates(shape))
    if len(candidates) == 1:
        return Choice(candidates[0], "order", {})
    print(f"timing attention by {', '.join(candidates)}, once per machine", file=sys.stderr)
    choice = fastest(
        candidates,
        lambda backend, window: time_layer(backend, device, shape, window),
        shape.windows,
        shape.length,
    )
    return keep_choice(path, key, choice) if choice.seconds else choice


def fastest(
    candidates: list[str], measure: Callable[[str, int], float], windows: tuple[int, ...], length: int
) -> Choice:
    """The candidate of least seconds over all windows; one that raises is left out. None left: the first,
    unmeasured.

    What has to be compiled comes last, and a candidate is given up, not measured further, once it could only
    win by a layer faster than all that were measured of that window: compiling one takes up to ten seconds.
    """
    layers: dict[tuple[str, int], float] = {}  # by cuDNN a layer costs the same whatever the others use

    def total(backend: str, best: float) -> float:
        found = [min((s for (_, w), s in layers.items() if w == window), default=0.0) for window in windows]
        for number, window in enumerate(windows):
            by_cudnn = backend.endswith(CUDNN) and window >= length - 1
            layer = CUDNN if by_cudnn else backend.removesuffix(CUDNN), window
            if layer not in layers:
                layers[layer] = measure(backend, window)
            found[number] = layers[layer]
            if sum(found) > best:
                return math.inf
        return sum(found)

    seconds: dict[str, float] = {}
    for backend in sorted(candidates, key=lambda name: name.startswith("flex")):
        try:
            needed = total(backend, min(seconds.values(), default=math.inf))
            if needed < math.inf:
                seconds[backend] = needed
        except Exception as error:  # a kernel that does not run here raises whatever it likes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            print(f"attention {backend} cannot run here: {reason[:200]}", file=sys.stderr)
    if not seconds:
        return Choice(candidates[0], "order", {})
    return Choice(min(seconds, key=lambda backend: seconds[backend]), "timed", seconds)


def time_layer(
    backend: str, device: torch.device, shape: AttentionShape, window: int, repeats: int = REPEATS
) -> float:
    """Seconds of one layer's attention forward and backward, masks included; the best of `repeats`."""
    rows = min(shape.rows, MOST_ROWS)
    size = (rows, shape.length, shape.heads, shape.head_dim)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    draw = torch.Generator(device).manual_seed(1)
    q, k, v = (
        torch.randn(size, generator=draw, device=device, dtype=dtype).requires_grad_() for _ in range(3)
    )
    tokens = torch.randint(0, 512, size[:2], generator=draw, device=device)  # documents of 512 tokens
    documents = document_ids(tokens, 0) if shape.documents else None

    def layer() -> None:
        plan = plan_masks(backend, shape.length, (window,), documents, device)
        out = attend(q, k, v, window, plan)
        torch.autograd.grad(out, (q, k, v), out)

    layer()  # compiles what compiles
    return min(_timed(layer, device) for _ in range(repeats))


def choice_key(device_name: str, torch_version: str, shape: AttentionShape) -> str:
    """What a choice depends on."""
    return json.dumps([device_name, torch_version, asdict(shape)], sort_keys=True)


def choice_file(key: str) -> str:
    """Name of the file for a key: one each, since a shared cache takes new files and changes none."""
    return f"attention_choice.{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def cache_folder() -> Path:
    """Where choices are kept."""
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")  # noqa: TID251  the sandbox says it this way
    return Path(named) if named else Path.home() / ".cache" / "autoresearch"


def read_choice(path: Path, key: str) -> Choice | None:
    """The kept choice, if the file has one for the key that this machine can still run."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))[key]
        backend = str(entry["backend"])
        seconds = {str(name): float(value) for name, value in entry["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Choice(backend, "cached", seconds) if backend in seconds else None


def keep_choice(path: Path, key: str, choice: Choice) -> Choice:
    """Writes the file of a key in one move, and returns what it holds: the first of several processes that
    time at once decides for all. A folder that may not be written is no error."""
    entry = {key: {"backend": choice.backend, "seconds": choice.seconds}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8") as file:
            json.dump(entry, file, indent=1)
            file.flush()
            if path.exists() and read_choice(path, key) is None:
                path.unlink()  # of no use
            with suppress(FileExistsError):
                os.link(file.name, path)
    except OSError:
        return choice
    kept = read_choice(path, key)
    return choice if kept is None or kept.seconds == choice.seconds else kept


def _candidates(shape: AttentionShape) -> Iterator[str]:
    """Backends to time; dense masks only where nothing else works, cuDNN where a layer is full."""
    usable = [name for name in working_backends(shape.documents) if name != "sdpa"] or ["sdpa"]
    has_full = not shape.documents and max(shape.windows) >= shape.length - 1
    for name in usable:
        yield name
        if has_full:
            yield name + CUDNN


def _timed(layer: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(CALLS):
        layer()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / CALLS
