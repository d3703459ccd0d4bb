"""The `climbmix` corpus: parquet shards of karpathy/climbmix-400b-shuffle, the last pinned as validation."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.data.documents import Document
from trainer.data.download import Progress, RetryPolicy, download_all
from trainer.data.errors import CorpusUnreadableError
from trainer.data.file_source import read_parquet

BASE_URL = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
SHARD_COUNT = 6543
VALIDATION_SHARD = SHARD_COUNT - 1


def shard_name(index: int) -> str:
    return f"shard_{index:05d}.parquet"


@dataclass(frozen=True)
class ClimbmixCorpus:
    """The first num_shards training shards and the validation shard, kept below cache."""

    cache: Path
    num_shards: int
    workers: int = 4
    base_url: str = BASE_URL
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    progress: Progress = field(default=lambda _n, _d, _t: None, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.num_shards <= VALIDATION_SHARD:
            raise ValueError(f"num_shards must be 1 to {VALIDATION_SHARD}, not {self.num_shards}")

    def describe(self) -> dict[str, object]:
        return {"source": "climbmix", "num_shards": self.num_shards}

    def fetch(self) -> list[Path]:
        """Downloads what is missing and returns all files, the validation shard last."""
        self.cache.mkdir(parents=True, exist_ok=True)
        indexes = [*range(self.num_shards), VALIDATION_SHARD]
        urls = {f"{self.base_url}/{shard_name(i)}": self.cache / shard_name(i) for i in indexes}
        return download_all(urls, self.workers, self.policy, self.progress)

    def documents(self) -> Iterator[Document]:
        for path in self.fetch()[:-1]:
            yield from _read(path)

    def pinned_validation(self) -> Iterator[Document] | None:
        return _read(self.fetch()[-1])


def _read(path: Path) -> Iterator[Document]:
    try:
        for text in read_parquet(path):
            yield Document(text, origin=str(path))
    except CorpusUnreadableError:
        path.unlink(missing_ok=True)  # a damaged shard is fetched again by the next run
        raise
