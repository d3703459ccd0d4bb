"""A prepared data set on disk: where its parts are, and whether they are what the manifest says.

DIR/<dataset-id>/manifest.json        source, counts, sha256 of every file, data_hash over them
                /train/train.json     what a candidate may know: row length, vocabulary, files
                /train/rows_00000.bin uint16 [N, context + 1], shuffled
                /validation/rows.bin  the same, never shown to a candidate
                /tokenizer/           ranks.tiktoken, tokenizer.json, token_bytes*.npy
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trainer.data.errors import DatasetCorruptError, DatasetNotFoundError

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a data set is made of. files maps relative names to sha256; data_hash covers them all.

    origin_files are the files on this machine that validation text was drawn from: a sandbox masks them.
    request_hash identifies the request, so that the same request finds the data set again.
    """

    dataset_id: str
    source: str
    request_hash: str
    vocab_size: int
    context_length: int
    packing: str
    train_rows: int
    train_tokens: int
    validation_rows: int
    validation_tokens: int
    train_documents: int
    validation_documents: int
    tokenizer_sha256: str
    files: dict[str, str]
    data_hash: str
    origin_files: list[str] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class Dataset:
    """A prepared data set. Only train_folder may be given to a candidate."""

    folder: Path
    manifest: Manifest

    @property
    def train_folder(self) -> Path:
        return self.folder / "train"

    @property
    def validation_rows(self) -> Path:
        return self.folder / "validation" / "rows.bin"

    @property
    def tokenizer_folder(self) -> Path:
        return self.folder / "tokenizer"

    def verify_evaluation_files(self) -> None:
        """Reads what a score rests on, validation rows and tokenizer. Raises DatasetCorruptError."""
        names = {name for name in self.manifest.files if name.startswith(("validation/", "tokenizer/"))}
        self._verify(names)

    def verify(self) -> None:
        """Reads every file and compares its hash. Raises DatasetCorruptError with the file's name."""
        self._verify(set(self.manifest.files))

    def _verify(self, names: set[str]) -> None:
        for name in sorted(names):
            path = self.folder / name
            if not path.is_file():
                raise DatasetCorruptError(f"{path} is missing; delete {self.folder} and prepare it again")
            if hash_file(path) != self.manifest.files[name]:
                raise DatasetCorruptError(f"{path} was changed; delete {self.folder} and prepare it again")


def open_dataset(folder: Path) -> Dataset:
    """Opens a data set by its folder. Raises DatasetNotFoundError or DatasetCorruptError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DatasetNotFoundError(
            f"{folder} holds no prepared data set; run `autoresearch prepare --data {folder.parent}`"
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**fields)
    except (json.JSONDecodeError, TypeError) as error:
        raise DatasetCorruptError(f"{path} is not a manifest ({error}); prepare the data again") from error
    if manifest.format != FORMAT:
        raise DatasetCorruptError(f"{path} has format {manifest.format}, this version reads {FORMAT}")
    if manifest.data_hash != combined_hash(manifest.files):
        raise DatasetCorruptError(f"{path} has a data_hash that does not belong to its files")
    for name in manifest.files:
        if not (folder / name).is_file():
            raise DatasetCorruptError(f"{folder / name} is missing; prepare the data again")
    return Dataset(folder, manifest)


def list_datasets(data_folder: Path) -> list[Dataset]:
    """All readable data sets below a data folder, by id."""
    found = []
    for manifest in sorted(data_folder.glob(f"*/{MANIFEST}")):
        if manifest.parent.name.startswith("."):
            continue
        try:
            found.append(open_dataset(manifest.parent))
        except DatasetCorruptError:
            continue
    return found


def find_dataset(data_folder: Path, data_hash: str) -> Dataset:
    """The data set with this data_hash. Raises DatasetNotFoundError that names those at hand."""
    datasets = list_datasets(data_folder)
    for dataset in datasets:
        if dataset.manifest.data_hash == data_hash:
            return dataset
    known = ", ".join(f"{d.manifest.dataset_id}={d.manifest.data_hash[:12]}" for d in datasets) or "none"
    raise DatasetNotFoundError(
        f"no data set with data_hash {data_hash[:12]} below {data_folder}; at hand: {known}"
    )


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def combined_hash(files: dict[str, str]) -> str:
    """One hash over file names and their hashes, independent of order."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
