"""Sets of documents and questions from files: what is read, and what is said of a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memoryd.bench.command import main
from memoryd.bench.question_sets import external_set, results_set
from services.errors import ConfigurationError

EXAMPLE = Path(__file__).parent / "question-set.jsonl"


def test_documents_and_questions_of_one_file() -> None:
    chosen = external_set((("--external", EXAMPLE),))
    assert [one.memory_id for one in chosen.documents] == [1, 2, 3, 4]
    assert chosen.documents[0].created == 1_700_000_000
    assert [sorted(one.gold) for one in chosen.questions] == [[3], [1, 3], [4], []]
    assert [one.cell for one in chosen.questions] == ["external", "other words", "other words", "abstain"]


def test_the_command_measures_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrieval", "--external", str(EXAMPLE), "--embedder", "none", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["arms"]["ours"]["hit@5"] == 1.0
    assert report["arms"]["ours"]["cells"]["other words"]["hit@1"] == 1.0
    assert report["decay"] is None


def test_documents_and_questions_of_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents, questions = tmp_path / "d.jsonl", tmp_path / "q.jsonl"
    documents.write_text('{"id": "a", "text": "cats purr"}\n{"id": "b", "text": "dogs bark"}\n')
    questions.write_text('{"query": "which animal barks", "gold": ["b"], "cluster": "c1"}\n')
    flags = ["--documents", str(documents), "--questions", str(questions), "--embedder", "none", "--json"]
    assert main(["retrieval", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["arms"]["ours"]["hit@5"] == 1.0


def test_rows_of_a_results_table_are_known_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "results.tsv"
    table.write_text(
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "abc1234\t0.98\t44.0\tkeep\traise matrix lr to 0.05, matrix steps grew\n"
        "def5678\t0.99\t44.0\tdiscard\tdrop value embeddings, embeddings of values were needed\n"
    )
    assert [one.text for one in results_set(table).questions] == [
        "raise matrix lr to 0.05",
        "drop value embeddings",
    ]
    assert main(["retrieval", "--results", str(table), "--embedder", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 2


DOCUMENT = '{"id": "a", "text": "cats"}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "line 1: this is not JSON"),
        ("[1]", "line 1: a line must be a JSON object, not list"),
        ("{}", "line 1: neither `text`"),
        ('{"text": "cats"}', "line 1: id is None"),
        ('{"id": "a", "text": ""}', "line 1: text is ''"),
        ('{"id": "a", "text": "cats", "created": "now"}', "line 1: created is 'now'"),
        (f"{DOCUMENT}\n{DOCUMENT}", "line 2: id 'a' stands twice"),
        (f'{DOCUMENT}\n{{"query": "cats"}}', "line 2: gold is None"),
        (f'{DOCUMENT}\n{{"query": "cats", "gold": ["b"]}}', "line 2: gold names 'b'"),
        (f'{DOCUMENT}\n{{"query": 7, "gold": ["a"]}}', "line 2: query is 7"),
        ('{"query": "cats", "gold": []}', "no document in"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(lines)
    with pytest.raises(ConfigurationError) as caught:
        external_set((("--external", path),))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--notes", "5"],
        ["--documents", "x.jsonl"],
        ["--results", "missing.tsv"],
        ["--external", "missing.jsonl"],
        ["--external", "x.jsonl", "--results", "y.tsv"],
    ],
)
def test_a_mistake_in_the_flags_is_named(arguments: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="--"):
        main(["retrieval", *arguments])


def test_a_set_without_answers_and_a_table_without_its_header_are_refused(tmp_path: Path) -> None:
    only = tmp_path / "set.jsonl"
    only.write_text(f'{DOCUMENT}\n{{"query": "dogs", "gold": []}}')
    with pytest.raises(ConfigurationError, match="no question with an answer"):
        main(["retrieval", "--external", str(only), "--embedder", "none"])
    table = tmp_path / "results.tsv"
    table.write_text("abc1234\t0.98\tkeep\n")
    with pytest.raises(ConfigurationError, match="no column `description`"):
        results_set(table)
    with pytest.raises(ConfigurationError, match="--memories"):
        main(["--memories", "1"])
