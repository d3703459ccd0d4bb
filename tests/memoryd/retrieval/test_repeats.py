"""Noticing what was tried before."""

from __future__ import annotations

import json

import pytest

from memoryd.bench.command import main
from memoryd.repeats import (
    RepeatIndex,
    diff_key,
    hyperparameter_similarity,
    idea_key,
    read_hyperparameters,
    text_key,
)

DIFF = """--- a/train.py
+++ b/train.py
@@ -10,2 +10,2 @@
-MATRIX_LR = 0.04
+MATRIX_LR = 0.05
"""
SAME_DIFF = """--- a/other.py
+++ b/other.py
@@ -99,3 +99,4 @@ def f():
 unchanged
-MATRIX_LR  =  0.040   # Muon
+MATRIX_LR=5e-2
+
"""


def test_a_diff_is_known_by_what_it_changes() -> None:
    assert diff_key(DIFF) == diff_key(SAME_DIFF)
    assert diff_key(DIFF) != diff_key(DIFF.replace("0.05", "0.06"))
    assert diff_key("--- a\n+++ b\n") is None


def test_a_text_is_known_by_its_words_in_any_order() -> None:
    assert text_key("Raised the LR to 0.05") == text_key("to 0.050: the lr, raised")
    assert text_key("lr 0.05") != text_key("lr 0.06")
    assert text_key("the") is None


@pytest.mark.parametrize(
    "text",
    [
        "d8 model, cooldown ratio 0.3 -> 5e-1: val_bpb 0.9812 -> 0.9798, kept",
        "proposal: set WARMDOWN_RATIO = 0.50 (was 0.3) for the depth 8 model",
        "at depth 8 bump the warmdown to 0.5.",
    ],
)
def test_an_idea_is_known_in_other_words(text: str) -> None:
    index = RepeatIndex()
    index.add(1, {"text": "raised WARMDOWN_RATIO from 0.3 to 0.5 at depth 8"})
    assert [(one.memory_id, one.kind) for one in index.find({"text": text})] == [(1, "text")]
    for change in (("8", "12"), ("cooldown", "warmup"), ("WARMDOWN", "WARMUP"), ("warmdown", "dropout")):
        if change[0] in text:
            assert index.find({"text": text.replace(*change)}) == []
    assert idea_key("nothing was changed at depth 8") is None


def test_the_same_words_are_surer_than_the_same_idea() -> None:
    index = RepeatIndex()
    index.add(1, {"text": "warmdown to 0.5 at depth 8"})
    index.add(2, {"text": "WARMDOWN_RATIO to 0.5 at depth 8"})
    found = index.find({"text": "At depth 8: warmdown to 0.50"})
    assert [(one.memory_id, one.similarity) for one in found] == [(1, 1.0), (2, 0.9)]


def test_the_benchmark_tells_repeats_from_near_misses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repeats", "--seed", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    for kind in ("diff, respelt", "hyperparameters, within 0.5 %", "words, reordered"):
        assert figures[kind]["recall"] > 0.95
        assert figures[kind]["precision"] > 0.95
        assert figures[kind]["others"] > 20, "a near miss must be among what is asked"
    assert figures["words, described"]["recall"] < 0.9, "descriptions are not names: a limit, said so"


def test_hyperparameters_are_read_from_json_and_from_pairs() -> None:
    assert read_hyperparameters('{"LR": 0.04, "act": "relu"}') == {"lr": "0.04", "act": "relu"}
    assert read_hyperparameters("LR = 0.04, depth=8") == {"lr": "0.04", "depth": "8"}
    assert read_hyperparameters("[1]") == {}


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ({"lr": "0.04"}, {"lr": "4e-2"}, 1.0, 1.0),
        ({"lr": "0.04"}, {"lr": "0.0404"}, 0.98, 0.99),
        ({"lr": "0.04"}, {"lr": "0.08"}, 0.0, 0.0),
        ({"lr": "0.04"}, {"lr": "-0.04"}, 0.0, 0.0),
        ({"batch": "2**17"}, {"batch": "131072"}, 1.0, 1.0),
        ({"lr": "0.04"}, {"depth": "0.04"}, 0.0, 0.0),
        ({"act": "relu"}, {"act": "gelu"}, 0.0, 0.0),
    ],
)
def test_hyperparameters_are_compared_by_ratio(
    one: dict[str, str], other: dict[str, str], low: float, high: float
) -> None:
    assert low <= hyperparameter_similarity(one, other) <= high


def test_each_kind_of_repeat_is_found_and_forgotten() -> None:
    index = RepeatIndex()
    index.add(1, {"text": "raised lr", "diff": DIFF})
    index.add(2, {"text": "lr sweep", "hyperparameters": "lr=0.04,depth=8"})
    index.add(3, {"text": "Cosine schedule!"})
    assert [(r.memory_id, r.kind) for r in index.find({"text": "x", "diff": SAME_DIFF})] == [(1, "diff")]
    near = index.find({"text": "y", "hyperparameters": '{"depth": 8, "lr": 0.0401}'})
    assert [(r.memory_id, r.kind) for r in near] == [(2, "hyperparameters")]
    assert [(r.memory_id, r.kind) for r in index.find({"text": "the cosine schedules"})] == [(3, "text")]
    assert index.find({"text": "linear schedule"}) == []
    for memory_id in (1, 2, 3):
        index.remove(memory_id)
    assert index.find({"text": "cosine schedule", "diff": DIFF}) == []


def test_replacing_a_memory_forgets_what_it_was() -> None:
    index = RepeatIndex()
    index.add(1, {"text": "cosine schedule"})
    index.add(1, {"text": "linear schedule"})
    assert index.find({"text": "cosine schedule"}) == []
    assert index.find({"text": "linear schedule"})[0].memory_id == 1


@pytest.mark.parametrize("odd", ["lr=0**-1", "[" * 100_000, "lr=1e-300", "lr=1e300", "lr=-1e300", "lr=0"])
def test_odd_hyperparameters_are_compared_like_any_other(odd: str) -> None:
    index = RepeatIndex()
    for number, text in enumerate((odd, "lr=1e-300", "lr=1e300", "lr=0**-1"), start=1):
        index.add(number, {"text": f"t {number}", "hyperparameters": text})
    found = {repeat.memory_id for repeat in index.find({"text": "x", "hyperparameters": odd})}
    assert found == {
        number
        for number, text in ((1, odd), (2, "lr=1e-300"), (3, "lr=1e300"), (4, "lr=0**-1"))
        if text == odd and odd != "[" * 100_000
    }
