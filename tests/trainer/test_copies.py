"""A hidden text is hidden under every name: links, copies, archives, and paths that lead through links."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.test_sandbox import USABLE, linux, run_plan
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan, mask_paths
from trainer.sandbox.copies import find_copies, training_can_do_without
from trainer.sandbox.plan import Limits

TEXT = "".join(f"line {number} of a text\n" for number in range(40))


@pytest.fixture
def shown() -> Iterator[Path]:
    """Not below /tmp, where bubblewrap has a memory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="shown-", dir="/var/tmp" if os.path.isdir("/var/tmp") else None))
    yield folder.resolve()
    shutil.rmtree(folder)


def write(path: Path, text: str = TEXT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_links_near_copies_and_archives_are_found_and_nothing_else(shown: Path) -> None:
    origin = write(shown / "site" / "package" / "module.py")
    other = write(shown / "site" / "other" / "module.py", "another module of that name\n" * 9)
    common = write(shown / "site" / "package" / "__init__.py")
    os.link(origin, shown / "linked.txt")
    write(shown / "vendored" / "package" / "module.py", TEXT[300:])
    write(shown / "vendored" / "package" / "__init__.py")
    write(shown / "unlike" / "module.py", "something else\n" * 40)
    write(shown / "elsewhere" / "__init__.py")  # of that name there are thousands
    write(shown / "bundled" / "package-1.0.whl")
    (shown / "leads").symlink_to(shown / "vendored")
    write(shown / "lib" / "python3.9" / "site-packages" / "anything.py", "of another Python\n")
    found = find_copies([str(one) for one in (origin, other, common)], [str(shown)], lambda path: True)
    expected = [
        "bundled/package-1.0.whl",
        "lib/python3.9/site-packages",
        "linked.txt",
        "vendored/package/__init__.py",
        "vendored/package/module.py",
    ]
    assert sorted(str(Path(path).relative_to(shown)) for path in found) == expected
    assert find_copies([str(origin)], [str(shown)], lambda path: "bundled" in path) == [
        str(shown / "bundled" / "package-1.0.whl")
    ]


def test_masks_cover_compiled_forms(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    for name in ("a.py", "b.py", "__pycache__/a.cpython-311.pyc", "__pycache__/b.cpython-311.pyc"):
        (tmp_path / name).touch()
    masked = mask_paths([str(tmp_path / "a.py"), str(tmp_path / "gone.py")], ())
    assert sorted(Path(path).name for path in masked) == ["__pycache__", "a.py"]


def test_compiled_modules_that_training_imports_are_not_hidden_with_their_neighbours() -> None:
    packages = Path(sysconfig.get_path("purelib"))
    masked = mask_paths([str(packages / "typing_extensions.py")], ())
    assert str(packages / "__pycache__") not in masked


def test_what_training_imports_is_never_hidden() -> None:
    library, packages = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")
    assert not training_can_do_without(os.path.realpath(f"{library}/json/decoder.py"))
    assert not training_can_do_without(os.path.realpath(f"{packages}/torch/nn/modules/linear.py"))
    assert training_can_do_without(os.path.realpath(f"{library}/test/test_json/__init__.py"))
    assert training_can_do_without("/opt/another/lib/python3/json/decoder.py")


@linux
@pytest.mark.parametrize("more", [0, 120], ids=["mounts", "rules"])
@pytest.mark.parametrize("tier", ["BUBBLEWRAP", "LANDLOCK"])
def test_no_other_name_shows_what_is_hidden(tier: str, more: int, tmp_path: Path, shown: Path) -> None:
    if tier not in USABLE:
        pytest.skip(f"the tier {tier} does not work on this machine")
    secret = write(shown / "real" / "secret.txt")
    write(shown / "real" / "open.txt", "open")
    os.link(secret, shown / "real" / "beside.txt")
    os.link(secret, shown / "elsewhere.txt")
    (shown / "absolute").symlink_to(shown / "real")
    (shown / "relative").symlink_to("real")
    (shown / "to-the-file.txt").symlink_to(secret)
    origins = [shown / "absolute" / "secret.txt", shown / "to-the-file.txt"]
    write(shown / "lib" / "site-packages" / "module.py", "of another Python")
    origins += [write(shown / "many" / f"{number}.txt", str(number)) for number in range(more)]
    names = ("real/secret.txt", "absolute/secret.txt", "relative/secret.txt", "to-the-file.txt",
             "real/beside.txt", "elsewhere.txt", "lib/site-packages/module.py", "real/open.txt")  # fmt: skip
    code = (
        f"for name in {names!r}:\n"
        f"    try: print(open('{shown}/' + name).read(4))\n"
        "    except OSError: print('-')\n"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    masked = mask_paths([str(one) for one in origins], (str(shown),))
    files, limits = CandidateFiles((shown,), (), masked), Limits(wall_seconds=20)
    plan = candidate_plan(["-c", code], files, tier=tier, scratch=scratch, environment={}, limits=limits)
    _, output, errors = run_plan(plan, tmp_path)
    assert output.split() == ["-"] * 7 + ["open"], errors
