"""The compile cache that runs share: each begins with a copy, and only runs of the template add to it.

A candidate never sees the shared folder, so it cannot poison it; what it makes of its copy ends with its
scratch folder. The evaluator's processes get neither. What kernels depend on is in the folder's name.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import shutil
import tempfile
from pathlib import Path

MOST_BYTES = 4 << 30
PASSING = ".passing-"  # how the name of a file begins that is being added


def cache_folder(shared: Path, torch_version: str, device_class: str) -> Path:
    """The part of the shared cache that is for this interpreter, torch and device."""
    parts = (platform.python_version(), torch_version, device_class, platform.machine())
    return shared / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def copy_cache(shared: Path, own: Path) -> None:
    """Gives a run its copy; without a shared cache an empty folder. Raises OSError."""
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    for path in _files(shared):
        target = own / path.relative_to(shared)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.chmod(target, path.stat().st_mode & 0o700)


def add_to_cache(shared: Path, own: Path, most_bytes: int = MOST_BYTES) -> int:
    """Adds what a trusted run has compiled; what is there already stays as it is. Returns the files added.
    Links are not followed, and above the size nothing is added. Several runs may add and copy at once, in
    one process or in several. Raises OSError."""
    size = sum(path.stat().st_size for path in _files(shared))
    added = 0
    for path in _files(own):
        target = shared / path.relative_to(own)
        if target.exists():
            continue
        size += path.stat().st_size
        if size > most_bytes:
            break
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, passing = tempfile.mkstemp(prefix=PASSING, dir=target.parent)
        os.close(descriptor)
        try:
            shutil.copyfile(path, passing)
            os.chmod(passing, path.stat().st_mode & 0o700)
            os.replace(passing, target)  # a reader never sees half a file
        except OSError:
            os.unlink(passing)
            raise
        added += 1
    return added


def is_template(source: str, template: str) -> bool:
    """Whether a train.py is the template but for literals that are assigned at its top level."""
    try:
        own, known = ast.parse(source).body, ast.parse(template).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return len(own) == len(known) and all(map(_differs_in_a_literal, own, known))


def _differs_in_a_literal(own: ast.stmt, known: ast.stmt) -> bool:
    if isinstance(own, ast.Assign) and isinstance(known, ast.Assign) and _is_literal(known.value):
        targets = [[ast.dump(target) for target in one.targets] for one in (own, known)]
        return targets[0] == targets[1] and _is_literal(own.value)
    return ast.dump(own) == ast.dump(known)


def _is_literal(node: ast.expr) -> bool:
    """A number, a text, a power of numbers, or a collection of such."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Pow) and _is_literal(node.left) and _is_literal(node.right)
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _files(folder: Path) -> list[Path]:
    found = []
    for root, _, names in os.walk(folder, followlinks=False):
        paths = [Path(root) / name for name in names if not name.startswith(PASSING)]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)
