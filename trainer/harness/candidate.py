"""Loading a candidate file as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from trainer.harness.failures import ContractError


def load_candidate(path: Path) -> ModuleType:
    """Imports a train.py from its path. SyntaxError and ImportError propagate.

    Raises ContractError when the file is missing or lacks build_model() or train().
    """
    if not path.is_file():
        raise ContractError(f"there is no candidate file {path}")
    spec = importlib.util.spec_from_file_location("candidate", path)
    if spec is None or spec.loader is None:
        raise ContractError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["candidate"] = module
    spec.loader.exec_module(module)
    for name in ("build_model", "train"):
        if not callable(getattr(module, name, None)):
            raise ContractError(f"{path.name} defines no function {name}()")
    return module
