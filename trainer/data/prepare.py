"""Makes a data set out of a corpus: split, tokenizer, rows, manifest; atomic, and found again by request.

Everything is written into DIR/.partial-<id>-<pid> and renamed when complete, so a killed run leaves no
data set at all and the next one starts clean (downloads resume, see climbmix).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.errors import is_full_disk
from trainer.data.dataset import MANIFEST, Dataset, Manifest, combined_hash, hash_file, open_dataset
from trainer.data.documents import Corpus, Document, without_duplicates
from trainer.data.errors import (
    CorpusTooSmallError,
    DataDiskFullError,
    DatasetCorruptError,
    DatasetNotFoundError,
)
from trainer.data.packing import pack_rows, split_long
from trainer.data.publish import publish, remove_abandoned, write_synced
from trainer.data.rows import spool_rows, write_sample, write_shuffled
from trainer.data.split import SPLIT_VERSION, draw_validation
from trainer.data.tokenizer import Tokenizer, train_tokenizer

Progress = Callable[[str, float], None]
LARGEST_VOCABULARY = 65_536
DOCUMENTS_PER_BATCH = 256
FEWEST_TRAIN_ROWS = 16
BYTES_PER_VALIDATION_TOKEN = 12  # about 3 a token, the rest for what cropping loses and for variety


@dataclass(frozen=True)
class Request:
    """What to prepare. packing is `crop` (the ancestors' rule) or `split` (long documents are cut first).

    validation_tokens is an upper bound; tokenizer_bytes bounds the text that merges are learnt from.
    """

    vocab_size: int = 8192
    context_length: int = 2048
    validation_tokens: int = 4_194_304
    packing: str = "crop"
    tokenizer_bytes: int = 50_000_000
    threads: int = 2
    seed: int = 1337

    def __post_init__(self) -> None:
        if not 512 <= self.vocab_size <= LARGEST_VOCABULARY:
            raise ValueError(
                f"vocab_size must be 512 to {LARGEST_VOCABULARY} (rows are uint16), not {self.vocab_size}"
            )
        if self.packing not in ("crop", "split"):
            raise ValueError(f"packing must be crop or split, not {self.packing!r}")
        if self.context_length < 8 or self.validation_tokens < self.context_length:
            raise ValueError("context_length must be at least 8 and validation_tokens at least one row")

    @property
    def row_length(self) -> int:
        """Tokens per stored row: inputs and the shifted targets overlap in all but one."""
        return self.context_length + 1


def prepare(
    corpus: Corpus, request: Request, data_folder: Path, progress: Progress = lambda _s, _f: None
) -> Dataset:
    """Returns the data set for this request, made now if it is not there.

    progress(stage, fraction) is called with stages split, tokenizer, rows, finish. Raises
    CorpusTooSmallError, DataDiskFullError, CorpusNotFoundError, DownloadError.
    """
    description = corpus.describe()
    dataset_id, request_hash = identify(description, request)
    target = data_folder / dataset_id
    try:
        existing = open_dataset(target)
        if existing.manifest.request_hash == request_hash:
            return existing
    except (DatasetNotFoundError, DatasetCorruptError):
        pass
    partial = data_folder / f".partial-{dataset_id}-{os.getpid()}"
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(data_folder, dataset_id)
        for name in ("train", "validation", "tokenizer"):
            (partial / name).mkdir(parents=True, exist_ok=True)
        manifest = _build(
            corpus, request, partial, dataset_id, request_hash, str(description["source"]), progress
        )
        write_synced(partial / MANIFEST, manifest.to_json())
        return publish(partial, target, request_hash)
    except OSError as error:
        if is_full_disk(error):
            raise DataDiskFullError(
                f"no space left below {data_folder} while preparing {dataset_id};"
                " free some or choose another --data"
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def identify(description: dict[str, object], request: Request) -> tuple[str, str]:
    """(dataset_id, request_hash): a readable id that ends in a short hash of all that was asked for."""
    asked = asdict(request)
    asked.pop("threads")
    text = json.dumps({"corpus": description, "request": asked, "split": SPLIT_VERSION}, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    kind = str(description["source"]).split(":", 1)[0]
    return f"{kind}-v{request.vocab_size}-t{request.context_length}-{digest[:8]}", digest


def _build(
    corpus: Corpus,
    request: Request,
    folder: Path,
    dataset_id: str,
    request_hash: str,
    source: str,
    progress: Progress,
) -> Manifest:
    progress("split", 0.0)
    pinned = corpus.pinned_validation()
    drawn: frozenset[str] = frozenset()
    if pinned is None:
        wanted_bytes = BYTES_PER_VALIDATION_TOKEN * request.validation_tokens
        drawn = draw_validation(lambda: without_duplicates(corpus.documents()), wanted_bytes)

    def training() -> Iterator[Document]:
        for document in without_duplicates(corpus.documents()):
            if document.content_hash not in drawn:
                yield document

    def validation() -> Iterator[Document]:
        if pinned is not None:
            yield from without_duplicates(pinned)
            return
        for document in without_duplicates(corpus.documents()):
            if document.content_hash in drawn:
                yield document

    progress("tokenizer", 0.0)
    tokenizer = train_tokenizer(up_to(training(), request.tokenizer_bytes), request.vocab_size)
    digest = tokenizer.save(folder / "tokenizer")

    progress("rows", 0.0)
    validation_documents = _Counter(validation())
    rows = _rows(validation_documents, tokenizer, request)
    most = max(1, request.validation_tokens // request.context_length)
    spool = folder / "spool.bin"
    if request.packing == "split":  # rows follow documents: draw from all, not the first few documents
        spool_rows(rows, spool)
        validation_rows = write_sample(
            spool, request.row_length, folder / "validation" / "rows.bin", most, request.seed
        )
    else:
        validation_rows = spool_rows(rows, folder / "validation" / "rows.bin", most)
    progress("rows", 0.1)
    train_documents = _Counter(training())
    train_rows = spool_rows(_rows(train_documents, tokenizer, request), spool)
    if train_rows < FEWEST_TRAIN_ROWS or validation_rows < 1:
        raise CorpusTooSmallError(
            f"{source} gives {train_rows} training and {validation_rows} validation rows of"
            f" {request.context_length} tokens; at least {FEWEST_TRAIN_ROWS} and 1 are needed: add text"
            " or choose a shorter context (texts of which others have much do not validate)"
        )
    names = write_shuffled(spool, request.row_length, folder / "train", request.seed)
    spool.unlink()
    description = {
        "vocab_size": tokenizer.vocab_size,
        "bos": tokenizer.bos,
        "context_length": request.context_length,
        "rows": train_rows,
        "files": names,
    }
    write_synced(folder / "train" / "train.json", json.dumps(description, indent=1) + "\n")

    progress("finish", 0.0)
    files = {
        str(path.relative_to(folder).as_posix()): hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return Manifest(
        dataset_id=dataset_id,
        source=source,
        request_hash=request_hash,
        vocab_size=tokenizer.vocab_size,
        context_length=request.context_length,
        packing=request.packing,
        train_rows=train_rows,
        train_tokens=train_rows * request.context_length,
        validation_rows=validation_rows,
        validation_tokens=validation_rows * request.context_length,
        train_documents=train_documents.count,
        validation_documents=validation_documents.count,
        tokenizer_sha256=digest,
        files=files,
        data_hash=combined_hash(files),
        origin_files=sorted(validation_documents.origins),
    )


class _Counter:
    """Passes documents on and remembers how many and from where."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self.count = 0
        self.origins: set[str] = set()

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self.count += 1
            if document.origin:
                self.origins.add(document.origin)
            yield document


def _rows(
    documents: Iterable[Document], tokenizer: Tokenizer, request: Request
) -> Iterator[npt.NDArray[np.uint16]]:
    encoded = encode(documents, tokenizer, request.threads)
    if request.packing == "split":
        encoded = split_long(encoded, tokenizer.bos, request.row_length)
    return pack_rows(encoded, request.row_length)


def encode(
    documents: Iterable[Document], tokenizer: Tokenizer, threads: int
) -> Iterator[npt.NDArray[np.uint16]]:
    """Yields each document as BOS and its tokens, uint16."""
    batch: list[str] = []
    for text in chain((d.text for d in documents), (None,)):
        if text is not None:
            batch.append(text)
        if len(batch) == DOCUMENTS_PER_BATCH or (text is None and batch):
            for tokens in tokenizer.encode_batch(batch, threads):
                yield np.array([tokenizer.bos, *tokens], dtype=np.uint16)
            batch.clear()


def up_to(documents: Iterable[Document], byte_count: int) -> Iterator[str]:
    """Texts until byte_count characters have been given."""
    given = 0
    for document in documents:
        if given >= byte_count:
            return
        given += len(document.text)
        yield document.text
