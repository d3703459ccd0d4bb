"""Hyperparameters as coordinates: there and back, inside the limits, and what depends on what."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainer.template
from agent.search.dimensions import (
    active_dimensions,
    complete_changes,
    dimensions_of,
    model_width,
    plain_values,
)
from agent.search.hyperparameters import read_block, set_values
from agent.search.space import PARAMETERS, Value

TEMPLATE = (Path(trainer.template.__file__).parent / "train.py").read_text()
BLOCK = read_block(TEMPLATE)
DIMENSIONS = {dimension.name: dimension for dimension in dimensions_of(BLOCK)}
NUMBERS = [name for name, dimension in DIMENSIONS.items() if not dimension.choices]


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NUMBERS), st.floats(0, 1))
def test_every_place_is_a_value_that_the_block_accepts(name: str, place: float) -> None:
    value = DIMENSIONS[name].from_unit(place)
    source = f"{name} = {BLOCK[name]!r}\n"
    assert read_block(set_values(source, {name: value}))[name] == value
    assert type(value) is type(BLOCK[name])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(NUMBERS), st.floats(0, 1))
def test_a_value_keeps_its_place(name: str, place: float) -> None:
    dimension = DIMENSIONS[name]
    value = dimension.from_unit(place)
    again = dimension.from_unit(dimension.to_unit(value))
    assert again == pytest.approx(value, rel=0.11, abs=1e-9)


def test_the_ends_of_a_rate_are_reached_by_logarithm() -> None:
    rate = DIMENSIONS["MATRIX_LR"]
    low, high = rate.parameter.search_range
    assert rate.from_unit(0.0) == pytest.approx(low)
    assert rate.from_unit(1.0) == pytest.approx(high)
    assert rate.from_unit(0.5) == pytest.approx((low * high) ** 0.5, rel=0.05)


def test_a_decay_can_be_switched_off() -> None:
    decay = DIMENSIONS["WEIGHT_DECAY"]
    assert decay.from_unit(0.0) == 0.0
    assert decay.to_unit(0.0) == 0.0
    half = decay.from_unit(0.5)
    assert isinstance(half, float)
    assert half > 0


def test_what_sets_the_size_of_a_run_moves_in_steps_around_the_incumbent() -> None:
    batch = DIMENSIONS["TOTAL_BATCH_SIZE"]
    reached = {batch.from_unit(i / 50) for i in range(51)}
    assert reached == {2**15, 2**16, 2**17, 2**18, 2**19}
    places = [DIMENSIONS["DEPTH"].from_unit(i / 50) for i in range(51)]
    depths = [depth for depth in places if isinstance(depth, int)]
    assert len(depths) == len(places)
    assert min(depths) >= 5
    assert max(depths) == 12


def test_unsearched_and_unknown_names_are_left_alone() -> None:
    names = {dimension.name for dimension in dimensions_of({"HEAD_DIM": 64, "MINE": 3, "MATRIX_LR": 0.04})}
    assert names == {"MATRIX_LR"}


def test_a_choice_that_was_used_stays_a_choice() -> None:
    (pattern,) = dimensions_of({"WINDOW_PATTERN": "LLSL"}, [{"WINDOW_PATTERN": "SLLL"}])
    assert {"LLSL", "SLLL", "L", "SSSL"} <= set(pattern.choices)


def test_what_means_nothing_in_a_block_is_not_active() -> None:
    block: dict[str, Value] = {
        "WEBER_MODE": "off",
        "WEBER_C_SQ": 1.0,
        "WINDOW_PATTERN": "L",
        "SHORT_WINDOW_DIVISOR": 8,
    }
    names = {dimension.name for dimension in active_dimensions(dimensions_of(block), block)}
    assert names == {"WEBER_MODE", "WINDOW_PATTERN"}
    block |= {"WEBER_MODE": "normalized", "WINDOW_PATTERN": "SL"}
    names = {dimension.name for dimension in active_dimensions(dimensions_of(block), block)}
    assert names == set(block)


def test_a_smaller_batch_brings_a_device_batch_that_divides_it() -> None:
    block = {"TOTAL_BATCH_SIZE": 2048, "DEVICE_BATCH_SIZE": 8}
    assert complete_changes({"TOTAL_BATCH_SIZE": 1024}, block)["DEVICE_BATCH_SIZE"] == 4
    assert complete_changes({"TOTAL_BATCH_SIZE": 4096}, block) == {"TOTAL_BATCH_SIZE": 4096}
    assert complete_changes({"MATRIX_LR": 0.1}, block) == {"MATRIX_LR": 0.1}


def test_the_width_is_rounded_up_to_whole_heads() -> None:
    assert model_width({"DEPTH": 9, "ASPECT_RATIO": 57, "HEAD_DIM": 128}) == 640
    assert model_width({"DEPTH": 9}) is None


def test_lists_from_json_become_tuples() -> None:
    assert plain_values({"ADAM_BETAS": [0.8, 0.95], "DEPTH": 4}) == {"ADAM_BETAS": (0.8, 0.95), "DEPTH": 4}


def test_the_table_is_consistent() -> None:
    for parameter in PARAMETERS.values():
        low, high = parameter.search_range
        if parameter.kind in ("int", "float", "power_of_two"):
            assert parameter.low <= low < high <= parameter.high, parameter.name
            assert low > 0 or not (parameter.log and parameter.searched), parameter.name
        if parameter.kind in ("choice", "pattern", "betas"):
            assert parameter.choices, parameter.name
