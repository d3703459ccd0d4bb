"""Documents with questions to measure by: the synthetic notebook, a results.tsv, or anybody's file."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memoryd.bench.arms import Document
from memoryd.bench.labnotes import Question, make_notebook
from services.errors import ConfigurationError


@dataclass(frozen=True)
class Set:
    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]

    @property
    def sha256(self) -> str:
        data = [[one.memory_id, one.text] for one in self.documents]
        asked = [[one.text, sorted(one.gold)] for one in self.questions]
        return hashlib.sha256(json.dumps([data, asked]).encode()).hexdigest()


def synthetic_set(seed: int, notes: int, per_cell: int) -> Set:
    book = make_notebook(seed, notes=notes, questions_per_cell=per_cell)
    documents = tuple(Document(one.memory_id, one.text, one.created) for one in book.notes)
    return Set(f"labnotes seed {seed}", documents, book.questions)


def results_set(path: Path) -> Set:
    """results.tsv of a real session: the change is asked for, the rest of its row is the document."""
    documents, questions = [], []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"--results: cannot read {path}: {error}") from error
    if "description" not in (reader.fieldnames or ()):
        raise ConfigurationError(
            f"--results: {path} has no column `description`; its first line must be the header"
        )
    for number, row in enumerate(rows, start=1):
        clauses = re.split(r"[;,(:.]\s", row.get("description") or "", maxsplit=1)
        rest = " ".join(str(row.get(name) or "") for name in ("commit", "val_bpb", "status"))
        documents.append(Document(number, f"{rest} {clauses[-1]}", number))
        if len(clauses) == 2 and clauses[0].strip():
            questions.append(Question("known item", clauses[0], frozenset({number}), f"row {number}"))
    return Set(path.name, tuple(documents), tuple(questions))


def external_set(flag_and_path: tuple[tuple[str, Path], ...]) -> Set:
    """JSON lines of one file or several, in any order: documents and the questions on them.

    A document is {"id", "text", "created"?} with created in seconds (its place in the file without);
    a question {"query", "gold": [ids], "cluster"?, "cell"?}, where an empty gold means that no document
    answers it. Questions of one cluster are drawn together in the intervals. Raises ConfigurationError that
    names the file, the line and the field.
    """
    ids: dict[str, int] = {}
    documents: list[Document] = []
    asked: list[tuple[str, dict[str, object]]] = []
    for flag, path in flag_and_path:
        for where, row in _lines(flag, path):
            if "query" in row:
                asked.append((where, row))
            elif "text" in row:
                document_id = str(_field(row, "id", (str, int), where))
                if document_id in ids:
                    raise ConfigurationError(f"{where}: id {document_id!r} stands twice")
                ids[document_id] = len(documents) + 1
                text = str(_field(row, "text", (str,), where))
                created = row.get("created", len(documents) + 1)
                if isinstance(created, bool) or not isinstance(created, int | float):
                    raise ConfigurationError(f"{where}: created is {created!r}, not seconds")
                documents.append(Document(len(documents) + 1, text, int(created)))
            else:
                raise ConfigurationError(
                    f"{where}: neither `text` (a document) nor `query` (a question) is there"
                )
    questions = [_question(where, row, ids) for where, row in asked]
    if not documents:
        raise ConfigurationError(f"{flag_and_path[0][0]}: no document in {flag_and_path[0][1]}")
    return Set(flag_and_path[0][1].name, tuple(documents), tuple(questions))


def _question(where: str, row: dict[str, object], ids: dict[str, int]) -> Question:
    query = str(_field(row, "query", (str,), where))
    gold = row.get("gold")
    if not isinstance(gold, list):
        raise ConfigurationError(f"{where}: gold is {gold!r}, not a list of document ids (empty: no answer)")
    for one in gold:
        if str(one) not in ids:
            raise ConfigurationError(f"{where}: gold names {one!r}, which is the id of no document")
    cell, cluster = str(row.get("cell", "external")), str(row.get("cluster", where))
    return Question(cell, query, frozenset(ids[str(one)] for one in gold), cluster)


def _field(row: dict[str, object], name: str, kinds: tuple[type, ...], where: str) -> object:
    value = row.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool) or not str(value).strip():
        raise ConfigurationError(f"{where}: {name} is {value!r}; give a text that is not empty")
    return value


def _lines(flag: str, path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Each object with where it stands, for messages."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{flag}: cannot read {path}: {error}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{flag}: {path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{where}: this is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigurationError(f"{where}: a line must be a JSON object, not {type(row).__name__}")
        yield where, row
