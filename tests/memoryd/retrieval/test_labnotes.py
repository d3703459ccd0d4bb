"""The synthetic notebook and the benchmark over it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memoryd.bench.command import main
from memoryd.bench.labnotes import CELLS, make_notebook
from memoryd.bench.labnotes_knobs import KNOBS, held_out
from memoryd.bench.statistics import clustered_interval, evidence_recall, hit_at, mcnemar, percentile


def test_a_seed_gives_the_same_notebook_and_another_seed_another() -> None:
    one, same, other = (make_notebook(seed, notes=1000, questions_per_cell=10) for seed in (1, 1, 2))
    assert one == same
    assert one.notes != other.notes
    assert len(one.notes) == 1000
    assert [note.memory_id for note in one.notes] == list(range(1, 1001))
    assert all(
        first.created < second.created for first, second in zip(one.notes, one.notes[1:], strict=False)
    )


def test_every_cell_has_its_questions_and_its_gold() -> None:
    book = make_notebook(3, notes=1000, questions_per_cell=10)
    text = {note.memory_id: note.text for note in book.notes}
    assert {cell: sum(q.cell == cell for q in book.questions) for cell in CELLS} == dict.fromkeys(CELLS, 10)
    for question in book.questions:
        assert bool(question.gold) == (question.cell != "abstain")
        if question.cell == "latest":
            (current,), (old,) = question.gold, question.superseded
            assert old < current
            assert ("not" in text[old]) != ("not" in text[current])
        if question.cell == "exact" and "commit" in question.text:
            assert question.text.split()[-1].rstrip("?") in text[next(iter(question.gold))]


def test_a_phrase_is_either_known_or_held_out() -> None:
    phrases = [phrase for knob in KNOBS for phrase in knob.paraphrases]
    assert len(set(phrases)) == len(phrases)
    assert 0.4 < len(held_out()) / len(phrases) < 0.5
    book = make_notebook(3, notes=1000, questions_per_cell=40)
    for question in book.questions:
        if question.cell == "paraphrase":
            is_held_out = any(phrase in question.text for phrase in held_out())
            assert question.part == ("held-out" if is_held_out else "dev")
        else:
            assert question.part == ""


def test_rates_of_a_ranking() -> None:
    assert hit_at([5, 3, 9], frozenset({3}), 1) == 0.0
    assert hit_at([5, 3, 9], frozenset({3}), 2) == 1.0
    assert evidence_recall([5, 3, 9], frozenset({3, 4})) == 0.5
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0


def test_the_interval_is_wider_when_questions_hang_together() -> None:
    values = [1.0, 0.0] * 50
    apart = clustered_interval(values, [str(n) for n in range(100)], seed=1)
    together = clustered_interval(sorted(values), [str(n // 25) for n in range(100)], seed=1)
    assert apart[0] < 0.5 < apart[1]
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_mcnemar_is_exact() -> None:
    assert mcnemar([True] * 5, [True] * 5) == 1.0
    assert mcnemar([True] * 6, [False] * 6) == pytest.approx(2 / 64)


def test_the_command_prints_every_arm_and_keeps_a_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    arguments = ["retrieval", "--notes", "1000", "--per-cell", "12", "--ledger", str(ledger)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    arms = ["recency", "fts5", "dense", "rrf60", "ours", "ours-no-decay", "ours-no-glossary"]
    assert all(f"| {arm} |" in shown for arm in arms)
    report = json.loads(ledger.read_text())
    assert list(report["arms"]) == arms
    ours, words = report["arms"]["ours"], report["arms"]["fts5"]
    assert ours["hit@5"] > words["hit@5"]
    assert report["decay"]["current_at_1"] > report["decay"]["current_at_1_without"]
    assert report["ours_minus_fts5"]["low"] <= report["ours_minus_fts5"]["mean"]
    cells = ours["cells"]
    assert {"paraphrase, dev", "paraphrase, held-out"} <= set(cells)
    assert all("newest first" in shown and name in shown for name in ("McNemar", "best single arm"))
