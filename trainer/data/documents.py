"""A corpus as a stream of documents, with exact duplicates removed."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Document:
    """One text and the file it came from (empty when there is no such file on disk).

    may_validate: whether the text may be drawn for validation: training never needs its file.
    """

    text: str
    origin: str = ""
    may_validate: bool = True

    @property
    def content_hash(self) -> str:
        """SHA-256 of the UTF-8 text, in hex; decides the split, so equal texts fall together."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


class Corpus(Protocol):
    """A source of training text.

    documents() may be called again and then yields the same documents in the same order.
    pinned_validation() yields documents that the source reserves for validation, or None when the
    split is to be drawn by content hash.
    """

    def describe(self) -> dict[str, object]: ...

    def documents(self) -> Iterator[Document]: ...

    def pinned_validation(self) -> Iterator[Document] | None: ...


def without_duplicates(documents: Iterable[Document]) -> Iterator[Document]:
    """Yields each distinct text once, the first occurrence; empty texts never."""
    seen: set[bytes] = set()
    for document in documents:
        if not document.text.strip():
            continue
        digest = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest not in seen:
            seen.add(digest)
            yield document
