"""The checkpoint that a candidate hands over: weights as safetensors and a JSON beside them."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from trainer.harness.checkpoint_names import DESCRIPTION_FILE, WEIGHTS_FILE
from trainer.harness.failures import ContractError


def save_checkpoint(folder: Path, model: torch.nn.Module, config: Mapping[str, Any], **facts: object) -> Path:
    """Writes both files atomically, the description last, and returns its path.

    config must be what build_model() needs, as JSON. facts (num_steps, tokens, …) are stored beside it.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    partial = folder / (WEIGHTS_FILE + ".part")
    save_file(tensors, partial)
    with partial.open("r+b") as stream, ThreadPoolExecutor(1) as helper:
        digest = helper.submit(_sha256, partial)  # of gigabytes, while the disk takes them
        os.fsync(stream.fileno())
    os.replace(partial, folder / WEIGHTS_FILE)
    description = {"format": 1, "config": dict(config), "weights_sha256": digest.result(), **facts}
    partial = folder / (DESCRIPTION_FILE + ".part")
    partial.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / DESCRIPTION_FILE)
    return folder / DESCRIPTION_FILE


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_description(folder: Path) -> dict[str, Any]:
    """checkpoint.json as a dictionary. Raises ContractError when it is missing or not one."""
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ContractError(f"{folder} holds no readable {DESCRIPTION_FILE}: {error}") from error
    if not isinstance(description, dict) or not isinstance(description.get("config"), dict):
        raise ContractError(f"{folder / DESCRIPTION_FILE} has no `config` object")
    return description


def load_weights(folder: Path, model: torch.nn.Module) -> None:
    """Loads the weights strictly. Raises ContractError when names, shapes or the file do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / WEIGHTS_FILE)
        model.load_state_dict(tensors, strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ContractError(f"the weights in {folder} do not fit build_model(): {error}") from error
