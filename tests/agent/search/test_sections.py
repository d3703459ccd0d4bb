"""Named sections of train.py: listed, read, replaced, and the whole file checked."""

import warnings
from pathlib import Path

import pytest

import trainer.template
from agent.search.sections import check_source, find_section, list_sections, read_section, replace_section
from services.errors import InvalidArgumentError

TEMPLATE = (Path(trainer.template.__file__).parent / "train.py").read_text()
SOURCE = "import math\n\n# === SECTION: model ===\nx = 1\n\n# === SECTION: training loop ===\ny = x\n"


def refused(section: str, code: str, source: str = SOURCE) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        replace_section(source, section, code)
    return caught.value


def test_the_template_has_the_five_sections_in_order() -> None:
    names = [section.name for section in list_sections(TEMPLATE)]
    assert names == ["hyperparameters", "model", "optimizer", "setup", "training loop"]


@pytest.mark.parametrize("name", ["hyperparameters", "model", "optimizer", "setup", "training loop"])
def test_putting_a_section_of_the_template_back_changes_nothing(name: str) -> None:
    assert replace_section(TEMPLATE, name, read_section(TEMPLATE, name)) == TEMPLATE


def test_replacing_leaves_everything_else() -> None:
    assert replace_section(SOURCE, "model", "x = 2\n") == SOURCE.replace("x = 1", "x = 2")
    assert replace_section(SOURCE, "training loop", "y = 3") == SOURCE.replace("y = x", "y = 3")


def test_names_may_be_written_with_underscores_or_capitals() -> None:
    assert replace_section(SOURCE, "Training_Loop", "y = 3\n") == SOURCE.replace("y = x", "y = 3")


def test_the_code_may_bring_its_own_marker() -> None:
    code = "\n# === SECTION: model ===\nx = 2\n"
    assert replace_section(SOURCE, "model", code) == SOURCE.replace("x = 1", "x = 2")


def test_an_unknown_section_is_named_with_the_known_ones() -> None:
    error = refused("optimiser", "x = 1")
    assert error.field == "section"
    assert "model, training loop" in error.message


def test_code_that_does_not_compile_is_refused_with_its_line_in_the_file() -> None:
    error = refused("model", "x = 1\ny = = 2\n")
    assert error.field == "code"
    assert "line 5" in error.message


def test_code_that_breaks_another_section_is_refused() -> None:
    assert refused("model", "def f(:\n").field == "code"
    assert refused("model", "x = '''never closed\n").field == "code"


def test_code_with_two_sections_is_refused() -> None:
    assert refused("model", "x = 1\n# === SECTION: training loop ===\ny = 2\n").field == "code"


def test_a_section_that_stands_twice_is_refused() -> None:
    twice = SOURCE + "# === SECTION: model ===\n"
    with pytest.raises(InvalidArgumentError, match="more than once"):
        list_sections(twice)


def test_a_file_without_markers_has_no_sections() -> None:
    assert list_sections("x = 1\n") == ()
    assert find_section("", "model") is None


@pytest.mark.parametrize("source", ["x = '\0'", "(" * 10_000, "x" * 600_000, "\ud800"])
def test_files_that_python_cannot_take_are_refused(source: str) -> None:
    with pytest.raises(InvalidArgumentError):
        check_source(source)


def test_a_warning_of_the_candidate_is_not_printed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_source("x = 1 is 1\n")
