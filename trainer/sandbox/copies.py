"""Where else a text can be read that validation was drawn from: hard links, copies, archives of packages.

Packages carry others with them (pip has platformdirs in pip/_vendor), and a machine may have several Pythons.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path

ARCHIVES = (".whl",)  # ensurepip's; nothing that trains installs a package
PACKAGE_FOLDERS = ("/site-packages", "/dist-packages")
COMMON_NAMES = frozenset({"__init__.py", "__main__.py", "conftest.py", "setup.py", "README.md"})
LARGEST = 4 << 20
LEAST_SHARED = 0.3


def find_copies(
    origins: Iterable[str], roots: Iterable[str], may_hide: Callable[[str], bool] | None = None
) -> list[str]:
    """Files below the roots that are hard links of an origin, or share its name (and its folder's, for a
    common one) and a third of its lines, or are archives; but for those that training needs. The packages of
    another Python are a copy as a whole."""
    originals = tuple(origins)
    by_name: dict[tuple[str, str], list[str]] = {}
    for origin in originals:
        by_name.setdefault(_key(origin), []).append(origin)
    texts: dict[tuple[str, str], _Texts] = {}
    statuses = filter(None, map(_status, originals))
    linked = {(status.st_dev, status.st_ino) for status in statuses if status.st_nlink > 1}
    numbers = {number for _, number in linked}
    known = {os.path.realpath(one) for one in originals}
    needed = (*import_folders(), *known)

    def holds_the_same(path: str, number: int) -> bool:
        if path.endswith(ARCHIVES):
            return True
        status = _status(path) if number in numbers else None
        if status is not None and (status.st_dev, status.st_ino) in linked:
            return True
        key = _key(path)
        if key not in by_name:
            return False
        if key not in texts:
            texts[key] = _Texts(by_name[key])
        return texts[key].share_lines_with(path)

    def is_foreign(folder: str) -> bool:
        if not folder.endswith(PACKAGE_FOLDERS):
            return False
        return not any(one == folder or one.startswith(f"{folder}/") for one in needed)

    copies = []
    for path, number in _walk(roots, is_foreign):
        if number < 0 or (path not in known and holds_the_same(path, number)):
            copies.append(path)
    return [path for path in copies if (may_hide or training_can_do_without)(path)]


def training_can_do_without(path: str) -> bool:
    """Whether a file is none that training imports, by the rules by which validation text is drawn."""
    from trainer.data.python_source import needed_by_training, unused_by_training

    library = Path(sysconfig.get_path("stdlib"))
    for folder in import_folders():
        if path.startswith(f"{folder}/"):
            relative = Path(path).relative_to(folder)
            inside = folder == os.path.realpath(library)
            if inside and relative.parts[0] == "site-packages":
                return True  # of the Python that a virtual environment was made from
            return unused_by_training(relative, inside, needed_by_training())
    return True


@lru_cache(maxsize=1)
def import_folders() -> tuple[str, ...]:
    """Where this interpreter imports from, the innermost first."""
    folders = {*sys.path, *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))}
    real = {os.path.realpath(folder) for folder in folders if folder and os.path.isdir(folder)}
    return tuple(sorted(real, key=len, reverse=True))


def _key(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    return (os.path.basename(folder) if name in COMMON_NAMES else "", name)


def _walk(roots: Iterable[str], is_whole: Callable[[str], bool]) -> Iterator[tuple[str, int]]:
    """Every file below the roots that is no link, once, and its number; -1 for a folder taken as a whole."""
    waiting = sorted({os.path.realpath(root) for root in roots})
    waiting = [one for one in waiting if not any(one.startswith(f"{other}/") for other in waiting)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if is_whole(entry.path):
                            yield entry.path, -1
                        else:
                            waiting.append(entry.path)
                    elif not entry.is_symlink():
                        yield entry.path, entry.inode()
        except OSError:
            continue  # no folder, or none that may be read here


class _Texts:
    """The lines of some originals, each file read once."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._sizes: list[int] = []
        self._holders: dict[int, list[int]] = {}
        for number, lines in enumerate(map(_lines, paths)):
            self._sizes.append(len(lines))
            for line in lines:
                self._holders.setdefault(line, []).append(number)

    def share_lines_with(self, path: str) -> bool:
        """Whether the file has LEAST_SHARED of the lines of one of them."""
        shared = Counter(chain.from_iterable(self._holders.get(line, ()) for line in _lines(path)))
        return any(count >= LEAST_SHARED * self._sizes[number] for number, count in shared.items())


def _lines(path: str) -> frozenset[int]:
    """Hashes of the lines that say something."""
    try:
        with open(path, "rb") as stream:
            return frozenset(map(hash, filter(None, map(bytes.strip, stream.read(LARGEST).splitlines()))))
    except OSError:
        return frozenset()


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
