"""The `files:PATH` corpus: txt, jsonl (a `text` field) and parquet (a `text` column)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.data.documents import Document
from trainer.data.errors import CorpusNotFoundError, CorpusUnreadableError

SUFFIXES = (".txt", ".md", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class FileCorpus:
    """The text files at or below a path."""

    path: Path

    def describe(self) -> dict[str, object]:
        """Identifies the corpus by path, sizes and times of its files."""
        files = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in self.files()]
        return {"source": f"files:{self.path}", "files": files}

    def files(self) -> list[Path]:
        """The files in name order. Raises CorpusNotFoundError when there is none."""
        if self.path.is_file():
            return [self.path]
        found = sorted(f for f in self.path.rglob("*") if f.suffix in SUFFIXES and f.is_file())
        if not found:
            raise CorpusNotFoundError(
                f"files:{self.path} has no {', '.join(SUFFIXES)} file; name a file or folder that has"
            )
        return found

    def documents(self) -> Iterator[Document]:
        for path in self.files():
            for text in read_documents(path):
                yield Document(text, origin=str(path))

    def pinned_validation(self) -> Iterator[Document] | None:
        return None


def read_documents(path: Path) -> Iterator[str]:
    """Yields the documents of one file; a plain text file is one document."""
    if path.suffix == ".parquet":
        yield from read_parquet(path)
    elif path.suffix in (".jsonl", ".ndjson"):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _text_field(path, number, line)
    else:
        yield path.read_text(encoding="utf-8", errors="replace")


def read_parquet(path: Path) -> Iterator[str]:
    """Yields the `text` column row group by row group."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        if "text" not in table.schema_arrow.names:
            raise CorpusUnreadableError(
                f"{path} has no column `text`; its columns are {table.schema_arrow.names}"
            )
        for group in range(table.num_row_groups):
            for text in table.read_row_group(group, columns=["text"])["text"].to_pylist():
                if text:
                    yield text
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusUnreadableError(
            f"{path} is not a readable parquet file ({error}); delete it or fetch it again"
        ) from error


def _text_field(path: Path, number: int, line: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusUnreadableError(
            f"{path}:{number} is not JSON ({error}); fix or remove the line"
        ) from error
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise CorpusUnreadableError(f"{path}:{number} has no string field `text`")
    return text
