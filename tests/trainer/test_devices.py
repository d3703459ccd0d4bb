"""What the trainer says of the machine that it runs on."""

from __future__ import annotations

import compileall
from pathlib import Path

import pytest

from trainer.devices import bytecode_warning


@pytest.mark.parametrize("compiles", [False, True])
def test_a_torch_without_bytecode_is_named_with_the_way_out(tmp_path: Path, compiles: bool) -> None:
    folder = tmp_path / "torch"
    (folder / "_inductor").mkdir(parents=True)
    for name in ("__init__.py", "_inductor/compile_fx.py"):
        (folder / name).write_text("x = 1\n")
    said = bytecode_warning(folder, compiles=compiles)
    assert said.endswith(f"-m compileall -q {folder}")
    compileall.compile_file(folder / "__init__.py", quiet=1)
    assert bool(bytecode_warning(folder, compiles=compiles)) is compiles
    compileall.compile_dir(folder, quiet=1)
    assert bytecode_warning(folder, compiles=compiles) == ""


def test_the_environment_of_the_tests_has_bytecode() -> None:
    assert bytecode_warning() == ""
