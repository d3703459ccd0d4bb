"""The `python` corpus: real files, and validation only from what training can do without."""

from pathlib import Path

import pytest

from trainer.data.documents import without_duplicates
from trainer.data.python_source import PythonCorpus, runtime_closure, top_level_names, unused_by_training
from trainer.data.split import draw_validation


def test_the_byte_limit_holds_and_the_order_is_fixed() -> None:
    corpus = PythonCorpus(max_bytes=300_000)
    documents = list(corpus.documents())
    taken = sum(len(d.text) for d in documents)
    assert 300_000 <= taken < 1_400_000
    assert [d.origin for d in documents] == [d.origin for d in PythonCorpus(300_000).documents()]


def test_validation_files_exist_and_are_not_needed_by_training() -> None:
    documents = list(without_duplicates(PythonCorpus(max_bytes=2_000_000).documents()))
    drawn = draw_validation(lambda: documents, 60_000)
    origins = [Path(d.origin) for d in documents if d.content_hash in drawn]
    assert origins
    needed = top_level_names(runtime_closure(("torch", "numpy", "safetensors")))
    for origin in origins:
        assert origin.is_file()
        if "site-packages" in origin.parts and origin.suffix == ".py":
            after = origin.parts[origin.parts.index("site-packages") + 1 :]
            assert after[0].removesuffix(".py") not in needed or {"test", "tests"} & set(after)


def test_what_training_imports_is_never_drawn() -> None:
    needed = frozenset({"torch", "numpy"})
    assert not unused_by_training(Path("torch/nn/modules/linear.py"), False, needed)
    assert not unused_by_training(Path("asyncio/events.py"), True, needed)
    assert unused_by_training(Path("test/test_os.py"), True, needed)
    assert unused_by_training(Path("numpy/linalg/tests/test_linalg.py"), False, needed)
    assert unused_by_training(Path("othertool/main.py"), False, needed)
    assert unused_by_training(Path("numpy/README.md"), False, needed)
    assert not unused_by_training(Path("torch/_export/db/examples/cond.py"), False, needed)


def test_what_torch_takes_if_it_is_there_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "opt_einsum-3.4.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: opt_einsum\nVersion: 3.4.0\n")
    assert "opt-einsum" not in runtime_closure(("torch",))
    monkeypatch.syspath_prepend(tmp_path)
    assert "opt-einsum" in runtime_closure(("torch",))
