"""The hyperparameter block: read through the syntax tree, changed value by value, nothing else touched."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.template
from agent.search.hyperparameters import changed_values, edits_code, read_block, set_values
from agent.search.space import PARAMETERS
from services.errors import InvalidArgumentError

TEMPLATE = (Path(trainer.template.__file__).parent / "train.py").read_text()
SOURCE = '''"""A train.py in small."""
import math

# === SECTION: hyperparameters ===
DEPTH = 4  # layers
TOTAL_BATCH_SIZE = 2**14
MATRIX_LR = 0.04   # DEPTH = 7 in a comment
WINDOW_PATTERN = "SL"
ADAM_BETAS = (0.8,
              0.95)  # two lines
QK_NORM = True
WIDTH = DEPTH * 64
NOTE = "MATRIX_LR = 9"; UNEMBEDDING_LR = 5e-3
WEIGHT_DECAY: float = 0.2

# === SECTION: model ===
LATER = 1
def build(depth=DEPTH):
    MATRIX_LR = 1.0
    return depth * math.pi * MATRIX_LR
'''


def field_of(changes: dict[str, object], source: str = SOURCE) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        set_values(source, changes)
    return caught.value.field


def test_it_reads_literals_of_the_block_only() -> None:
    assert read_block(SOURCE) == {
        "DEPTH": 4,
        "TOTAL_BATCH_SIZE": 2**14,
        "MATRIX_LR": 0.04,
        "WINDOW_PATTERN": "SL",
        "ADAM_BETAS": (0.8, 0.95),
        "QK_NORM": True,
        "NOTE": "MATRIX_LR = 9",
        "UNEMBEDDING_LR": 0.005,
        "WEIGHT_DECAY": 0.2,
    }


@pytest.mark.parametrize(
    ("name", "given_value", "line"),
    [
        ("DEPTH", 6, "DEPTH = 6  # layers"),
        ("DEPTH", "6", "DEPTH = 6  # layers"),
        ("DEPTH", 6.0, "DEPTH = 6  # layers"),
        ("TOTAL_BATCH_SIZE", "2**17", "TOTAL_BATCH_SIZE = 2**17"),
        ("TOTAL_BATCH_SIZE", 32768, "TOTAL_BATCH_SIZE = 2**15"),
        ("TOTAL_BATCH_SIZE", "4 * 1024", "TOTAL_BATCH_SIZE = 2**12"),
        ("MATRIX_LR", "0.05", "MATRIX_LR = 0.05   # DEPTH = 7 in a comment"),
        ("MATRIX_LR", 1, "MATRIX_LR = 1.0   # DEPTH = 7 in a comment"),
        ("WINDOW_PATTERN", "SSSL", 'WINDOW_PATTERN = "SSSL"'),
        ("WINDOW_PATTERN", "'SSL'", 'WINDOW_PATTERN = "SSL"'),
        ("QK_NORM", "false", "QK_NORM = False"),
        ("ADAM_BETAS", "(0.9, 0.99)", "ADAM_BETAS = (0.9, 0.99)  # two lines"),
        ("ADAM_BETAS", [0.9, 0.99], "ADAM_BETAS = (0.9, 0.99)  # two lines"),
        ("UNEMBEDDING_LR", "4e-3", 'NOTE = "MATRIX_LR = 9"; UNEMBEDDING_LR = 0.004'),
        ("WEIGHT_DECAY", "0", "WEIGHT_DECAY: float = 0.0"),
    ],
)
def test_it_changes_the_value_and_keeps_the_rest_of_the_line(
    name: str, given_value: object, line: str
) -> None:
    changed = set_values(SOURCE, {name: given_value})
    assert line in changed.splitlines()
    before, after = SOURCE.splitlines(), changed.splitlines()
    assert [text for text in after if text not in before] == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"DEPTH": "four"},
        {"DEPTH": 4.5},
        {"DEPTH": 0},
        {"DEPTH": True},
        {"DEPTH": None},
        {"MATRIX_LR": "nan"},
        {"MATRIX_LR": float("nan")},
        {"MATRIX_LR": float("inf")},
        {"MATRIX_LR": -0.1},
        {"MATRIX_LR": "__import__('os').system('true')"},
        {"MATRIX_LR": "9**9**9**9"},
        {"MATRIX_LR": "1/0"},
        {"MATRIX_LR": "1000000**64"},
        {"MATRIX_LR": 10**400},
        {"TOTAL_BATCH_SIZE": 2**1500},
        {"ADAM_BETAS": [0.9, 10**400]},
        {"MATRIX_LR": "(" * 5000},
        {"TOTAL_BATCH_SIZE": 3000},
        {"WINDOW_PATTERN": "LS\nimport os"},
        {"WINDOW_PATTERN": ""},
        {"WINDOW_PATTERN": 3},
        {"QK_NORM": 1},
        {"QK_NORM": "maybe"},
        {"ADAM_BETAS": "(0.8,)"},
        {"ADAM_BETAS": (0.8, 1.5)},
        {"NOTE": "line\nbreak"},
        {"WIDTH": 128},
        {"LATER": 2},
        {"BATCH": 2},
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(changes: dict[str, object]) -> None:
    assert field_of(changes) == next(iter(changes))


def test_one_wrong_value_refuses_them_all() -> None:
    assert field_of({"DEPTH": 5, "MATRIX_LR": "fast"}) == "MATRIX_LR"


def test_a_number_too_large_for_a_float_is_left_alone() -> None:
    digits = "1" + "0" * 400
    assert read_block(f"DEPTH = 4\nROWS = {digits}\nADAM_BETAS = (0.9, {digits})\n") == {"DEPTH": 4}


def test_a_file_that_does_not_parse_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match="line 2") as caught:
        read_block("DEPTH = 4\nDEPTH = = 5\n")
    assert caught.value.field == "source"


def test_the_last_of_two_assignments_counts_and_is_the_one_changed() -> None:
    source = "DEPTH = 4\nDEPTH = 5\n"
    assert read_block(source) == {"DEPTH": 5}
    assert set_values(source, {"DEPTH": 6}) == "DEPTH = 4\nDEPTH = 6\n"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_and_wide_characters_stay(end: str) -> None:
    source = f'NAME = "größe 数"; DEPTH = 4{end}MATRIX_LR = 0.04  # λ{end}'
    expected = f'NAME = "größe 数"; DEPTH = 6{end}MATRIX_LR = 0.05  # λ{end}'
    assert set_values(source, {"DEPTH": 6, "MATRIX_LR": 0.05}) == expected


def test_setting_what_is_there_changes_nothing() -> None:
    assert set_values(SOURCE, dict(read_block(SOURCE))) == SOURCE


def test_every_hyperparameter_of_the_template_is_in_the_table() -> None:
    assert set(read_block(TEMPLATE)) <= set(PARAMETERS)


def test_the_values_of_the_template_lie_inside_the_limits() -> None:
    assert set_values(TEMPLATE, dict(read_block(TEMPLATE))) == TEMPLATE


def test_changed_values_and_edits_of_code_are_told_apart() -> None:
    changed = set_values(TEMPLATE, {"DEPTH": 5, "MATRIX_LR": 0.03})
    assert changed_values(TEMPLATE, changed) == {"DEPTH": 5, "MATRIX_LR": 0.03}
    assert not edits_code(TEMPLATE, changed)
    assert edits_code(TEMPLATE, changed + "\nx = 1\n")
    assert edits_code(TEMPLATE, "not python at all (")


@settings(deadline=None, max_examples=30)
@given(
    st.fixed_dictionaries(
        {
            "DEPTH": st.integers(1, 64),
            "MATRIX_LR": st.floats(0, 2),
            "TOTAL_BATCH_SIZE": st.integers(8, 23).map(lambda power: 2**power),
            "WINDOW_PATTERN": st.text("SL", min_size=1, max_size=8),
            "ADAM_BETAS": st.tuples(st.floats(0, 0.9999), st.floats(0, 0.9999)),
            "QK_NORM": st.booleans(),
        }
    )
)
def test_what_is_written_is_what_the_file_then_says(values: dict[str, object]) -> None:
    changed = set_values(SOURCE, values)
    assert read_block(changed) == read_block(SOURCE) | values
    space: dict[str, object] = {}
    exec(compile(changed, "train.py", "exec"), space)
    assert {name: space[name] for name in values} == values
    model = changed[changed.index("# === SECTION: model") :]
    assert ast.dump(ast.parse(model)) == ast.dump(ast.parse(SOURCE[SOURCE.index("# === SECTION: model") :]))
