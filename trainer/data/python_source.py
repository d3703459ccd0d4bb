"""The `python` corpus: source and documentation of the running interpreter and its packages.

Real text that every machine has, without a network. Files are taken in the order of a hash of their
relative path, so a byte limit takes an even sample. Only files that training never needs may be
drawn for validation, so that a sandbox can hide them from the candidate.
"""

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from trainer.data.documents import Document

SUFFIXES = (".py", ".md", ".rst", ".txt")
NEEDED_BY_TRAINING = ("torch", "numpy", "safetensors", "triton", "psutil", "autoresearch-stack")
COMPILERS = frozenset({"torch", "triton"})  # torch.compile hashes all of their files
UNUSED_LIBRARY = frozenset({"test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "tkinter"})
UNUSED_DIRECTORY = frozenset({"test", "tests", "docs", "doc", "examples"})
SMALLEST, LARGEST = 200, 1_000_000


@dataclass(frozen=True)
class PythonCorpus:
    """Text of this interpreter; max_bytes 0 means all of it."""

    max_bytes: int = 0

    def describe(self) -> dict[str, object]:
        return {"source": "python", "max_bytes": self.max_bytes}

    def documents(self) -> Iterator[Document]:
        """Yields files in path-hash order until max_bytes of text have been read."""
        taken = 0
        for path, may_validate in self._files:
            text = read_text(path)
            if text is None:
                continue
            yield Document(text, origin=str(path), may_validate=may_validate)
            taken += len(text)
            if self.max_bytes and taken >= self.max_bytes:
                return

    def pinned_validation(self) -> Iterator[Document] | None:
        return None

    @cached_property
    def _files(self) -> list[tuple[Path, bool]]:
        library = Path(sysconfig.get_path("stdlib"))
        site_folders = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
        needed = needed_by_training()
        found: dict[bytes, tuple[Path, bool]] = {}
        for root in [library, *sorted(site_folders)]:
            for path in walk_text_files(root):
                relative = path.relative_to(root)
                inside_library = root == library
                if inside_library and relative.parts[0] == "site-packages":
                    continue
                may_validate = unused_by_training(relative, inside_library, needed)
                found[hashlib.sha256(str(relative).encode()).digest()] = (path, may_validate)
        return [found[key] for key in sorted(found)]


def walk_text_files(root: Path) -> Iterator[Path]:
    """Yields the text files below root, without caches and without package metadata."""
    for folder, folders, files in os.walk(root):
        folders[:] = [
            f for f in folders if f != "__pycache__" and not f.endswith((".dist-info", ".egg-info"))
        ]
        for name in files:
            if name.endswith(SUFFIXES):
                yield Path(folder) / name


def read_text(path: Path) -> str | None:
    """The file as UTF-8 text, or None when it is unreadable, not UTF-8, tiny or huge."""
    try:
        if not SMALLEST <= path.stat().st_size <= LARGEST:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=1)
def needed_by_training() -> frozenset[str]:
    """Import names of what training needs: asked for by distributions, or really loaded."""
    return top_level_names(runtime_closure(NEEDED_BY_TRAINING)) | imported_by_training()


def unused_by_training(relative: Path, inside_library: bool, needed: frozenset[str]) -> bool:
    """Whether a training process can do without this file."""
    first = relative.parts[0]
    if inside_library:
        return first in UNUSED_LIBRARY or bool(UNUSED_LIBRARY & set(relative.parts[1:-1]))
    if first in COMPILERS:
        return False
    if relative.suffix != ".py":
        return True
    if UNUSED_DIRECTORY & set(relative.parts[1:-1]):
        return True
    return first.removesuffix(".py") not in needed


def runtime_closure(distributions: tuple[str, ...]) -> frozenset[str]:
    """Names of the installed distributions that the given ones need at run time, themselves included."""
    pending, closed = list(distributions), set[str]()
    while pending:
        name = canonical(pending.pop())
        if name in closed:
            continue
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        closed.add(name)
        if name == "autoresearch-stack":
            continue
        for line in requires:
            wanted = "extra ==" not in line or name == "torch"  # which takes extras unasked
            if wanted and (match := re.match(r"[A-Za-z0-9._-]+", line)):
                pending.append(match.group())
    return frozenset(closed)


def top_level_names(distributions: frozenset[str]) -> frozenset[str]:
    """Import names of the given distributions, plus what a start of the interpreter may load."""
    names = {"trainer", "services", "autoresearch", "setuptools", "_distutils_hack", "pkg_resources"}
    for package, owners in importlib.metadata.packages_distributions().items():
        if any(canonical(owner) in distributions for owner in owners):
            names.add(package)
    return frozenset(names)


def imported_by_training() -> frozenset[str]:
    """Import names that a process really loads before it compiles for a GPU; empty where there is none.

    torch takes many packages that it does not ask for, where they are installed.
    """
    if not Path("/dev/nvidiactl").exists():
        return frozenset()
    program = "import sys, torch._inductor.compile_fx, trainer.template.train; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return frozenset(name.split(".")[0] for name in done.stdout.split())


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
