"""The shared compile cache: a copy for each run, additions by the template alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from autoresearch.trainer.v1 import trainer_pb2 as pb

from tests.trainer.daemon_process import trainerd
from tests.trainer.serving import request, watch_to_end
from trainer.devices import torch_version
from trainer.presets import PRESETS
from trainer.runs.compile_cache import add_to_cache, cache_folder, copy_cache, is_template
from trainer.templates import TRAIN_PY, research_file

PLAIN = TRAIN_PY.read_text(encoding="utf-8")
TINY = research_file(PRESETS["tiny"])
# Says what it finds in its cache, then poisons that and looks for the shared one.
POISONING = """
import os
own, shared = os.environ["TORCHINDUCTOR_CACHE_DIR"], "@SHARED@"
print("own", sorted(os.listdir(own)), open(os.path.join(own, "kernel.so")).read())
open(os.path.join(own, "kernel.so"), "w").write("poison")
open(os.path.join(own, "poison"), "w").write("poison")
for path in (shared, os.path.join(shared, "kernel.so"), os.path.join(shared, "poison")):
    try:
        open(path, "a").write("poison")
        print("written")
    except OSError as error:
        print("refused", os.path.exists(path))
"""


def test_the_template_with_other_literals_is_the_template() -> None:
    assert is_template(TINY, PLAIN)
    assert is_template(PLAIN, PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DEPTH = ", "DEPTH = print('x') or "),
        ("DEPTH = ", "import os\nDEPTH = "),
        ("DEPTH = ", "HEAD_DIM = "),
        ("DEPTH = ", "DEPTH = [1 for _ in 'x'] and "),
        ("return ", "return 1 + "),
    ],
)
def test_other_code_is_not_the_template(old: str, new: str) -> None:
    assert old in TINY
    assert not is_template(TINY.replace(old, new, 1), PLAIN)


def test_what_does_not_parse_is_not_the_template() -> None:
    assert not is_template("def broken(:\n", PLAIN)
    assert not is_template("\0", PLAIN)


def test_a_copy_is_a_copy_and_what_is_known_is_not_replaced(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    copy_cache(shared, own)
    assert list(own.iterdir()) == []
    (own / "a").mkdir()
    (own / "a" / "kernel.so").write_text("good")
    (own / "link").symlink_to("/etc/passwd")
    assert add_to_cache(shared, own) == 1
    (own / "a" / "kernel.so").write_text("other")
    assert add_to_cache(shared, own) == 0
    assert (shared / "a" / "kernel.so").read_text() == "good"
    assert not (shared / "link").exists()
    copy_cache(shared, own)
    assert (own / "a" / "kernel.so").read_text() == "good"
    assert (own / "a" / "kernel.so").stat().st_ino != (shared / "a" / "kernel.so").stat().st_ino


def test_a_full_cache_takes_no_more(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    own.mkdir()
    for name in "abc":
        (own / name).write_bytes(bytes(10))
    assert add_to_cache(shared, own, most_bytes=25) == 2


def test_what_is_there_already_counts_once(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", tmp_path / "own"
    own.mkdir()
    for name in "ab":
        (own / name).write_bytes(bytes(10))
    assert add_to_cache(shared, own, most_bytes=30) == 2
    (own / "c").write_bytes(bytes(10))
    assert add_to_cache(shared, own, most_bytes=30) == 1


def test_runs_add_and_copy_at_once(tmp_path: Path) -> None:
    """None meets the half of another's file, or misses one that was there when it looked."""
    shared, content = tmp_path / "shared", b"kernel" * 50_000
    owns = [tmp_path / f"own-{number}" for number in range(4)]
    for own in owns:
        own.mkdir()
        for name in range(20):
            (own / str(name)).write_bytes(content)
    with ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(add_to_cache, shared, own) for own in owns]
        copying = [pool.submit(copy_cache, shared, tmp_path / f"copy-{number}") for number in range(4)]
        assert sum(job.result() for job in adding) >= 20
        for job in copying:
            job.result()
    assert sorted(path.name for path in shared.iterdir()) == sorted(map(str, range(20)))
    for path in (*shared.iterdir(), *tmp_path.glob("copy-*/*")):
        assert path.read_bytes() == content


def test_another_torch_or_device_has_another_cache(tmp_path: Path) -> None:
    folders = {cache_folder(tmp_path, *names) for names in (("1", "a"), ("2", "a"), ("1", "b"))}
    assert len(folders) == 3


async def test_no_candidate_poisons_the_next_one(tmp_path: Path, tiny_data: Path) -> None:
    shared = cache_folder(tmp_path / "compile-cache", torch_version(), "cpu")
    shared.mkdir(parents=True)
    (shared / "kernel.so").write_text("good")
    async with trainerd(tmp_path, tiny_data) as daemon:
        for name in ("first", "second"):
            source = POISONING.replace("@SHARED@", str(shared))
            await daemon.client.start(request(name, source, preset="tiny", origin=pb.SOURCE_ORIGIN_USER))
            events = await watch_to_end(daemon.client, name)
            lines = [event.log.text for event in events if event.log.stream == "stdout"]
            assert lines[0] == "own ['kernel.so'] good"
            assert "written" not in lines
    assert [(path.name, path.read_text()) for path in shared.iterdir()] == [("kernel.so", "good")]
