"""Which programs count as the same experiment."""

from __future__ import annotations

import pytest

from agent.llm.reading_source import readable_block
from agent.session.repeats import Tried, describe_tried, diff_text, find_repeat

SOURCE = '''"""A file."""
# === SECTION: hyperparameters ===
DEPTH = 4  # layers
MATRIX_LR = 0.04
WINDOW_PATTERN = "SSL"
ADAM_BETAS = (0.8, 0.95)
# === SECTION: model ===
def scale(value):
    """Doubles."""
    doubled = value * 2.0
    return doubled
'''


def tried(number: int, source: str, with_shape: bool = False) -> Tried:
    return describe_tried(number, source, readable_block(source), with_shape=with_shape)


@pytest.mark.parametrize(
    ("before", "after", "edits_code"),
    [
        ("DEPTH = 4  # layers", "DEPTH = 4", False),
        ("DEPTH = 4  # layers", "DEPTH = 2 + 2 - 0  # four", False),
        ('"""Doubles."""', '"""Says something else."""', True),
        ("MATRIX_LR = 0.04", "MATRIX_LR = 0.0401", False),
        ("ADAM_BETAS = (0.8, 0.95)", "ADAM_BETAS = (0.8, 0.951)", False),
        ("doubled", "twice", True),
        ("value", "x", True),
        ("    doubled", "\n    # a remark\n    doubled", True),
    ],
)
def test_wording_layout_and_tiny_steps_are_repeats(before: str, after: str, edits_code: bool) -> None:
    changed = SOURCE.replace(before, after)
    assert changed != SOURCE
    repeat = find_repeat(tried(-1, changed, edits_code), [tried(0, SOURCE, True)])
    assert repeat is not None
    assert repeat.number == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DEPTH = 4", "DEPTH = 5"),
        ("MATRIX_LR = 0.04", "MATRIX_LR = 0.045"),
        ('"SSL"', '"SL"'),
        ("(0.8, 0.95)", "(0.9, 0.95)"),
        ("value * 2.0", "value * 3.0"),
        ("value * 2.0", "value + 2.0"),
    ],
)
def test_real_changes_are_no_repeats(before: str, after: str) -> None:
    changed = SOURCE.replace(before, after)
    assert changed != SOURCE
    assert find_repeat(tried(-1, changed, True), [tried(0, SOURCE, True)]) is None


def test_a_file_that_does_not_parse_repeats_only_itself() -> None:
    broken = [tried(1, "def (", True)]
    assert find_repeat(tried(-1, "def (", True), broken) is not None
    assert find_repeat(tried(-1, "def ((", True), broken) is None


def test_the_diff_is_a_diff_that_git_can_read() -> None:
    text = diff_text("A = 1", "A = 2\n")
    assert text.splitlines()[:2] == ["--- a/train.py", "+++ b/train.py"]
    assert "\\ No newline at end of file" in text
    assert diff_text("A", "A") == ""
