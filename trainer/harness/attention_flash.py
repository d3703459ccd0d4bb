"""FlashAttention from packages of its own, where installed: version 3 (Hopper), version 4 (`fa4` extra).

Neither masks documents here. torch.compile does not trace into version 4, whose kernels are compiled by
another compiler: the graph breaks around it.
"""

import importlib
import importlib.util
from typing import Any

import torch


def attend_fa3(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Attention output [B, T, H, D] of queries, keys, values [B, T, H, D]; window -1 is all earlier keys."""
    from flash_attn_interface import flash_attn_func

    return _first(flash_attn_func(q, k, v, causal=True, window_size=(window, 0)))


def attend_fa4(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """Like attend_fa3."""
    bounds = (None, None) if window < 0 else (window, 0)
    kernel = _fa4 if _fa4 is not None else _open_fa4()
    return _first(kernel(q, k, v, causal=True, window_size=bounds))


def fa3_works() -> bool:
    """Whether the package is installed and the device is a Hopper or later."""
    return _is_installed("flash_attn_interface") and torch.cuda.get_device_capability() >= (9, 0)


def fa4_works() -> bool:
    """Whether the package can be imported (installed it may still lack its compiler) on such a device."""
    if not _is_installed("flash_attn") or torch.cuda.get_device_capability() < (9, 0):
        return False
    try:
        _open_fa4()
    except Exception:  # a broken installation raises whatever it likes
        return False
    return True


# Not at import: torch.compiler.disable loads torch._dynamo, which doubles the start of every process. Opened
# by fa4_works, which is asked first where the choice is free, else by the first call.
_fa4: Any = None


def _open_fa4() -> Any:
    """The kernels, which torch.compile steps around."""
    global _fa4
    if _fa4 is None:
        kernels: Any = importlib.import_module("flash_attn.cute").flash_attn_func
        _fa4 = torch.compiler.disable(kernels)  # type: ignore[no-untyped-call]
    return _fa4


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _first(answer: Any) -> torch.Tensor:
    """The output; some versions return the log-sum of exponentials beside it."""
    out: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
    return out
