"""The byte-pair tokenizer: trained by rustbpe, stored as ranks and JSON with a hash, used by tiktoken.

Never pickled: a stored tokenizer is text that can be read without running code.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainer.data.errors import CorpusTooSmallError, DatasetCorruptError

if TYPE_CHECKING:
    pass

# GPT-4's pattern with at most two digits a piece: three would waste entries of a small vocabulary.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = tuple(f"<|reserved_{i}|>" for i in range(4))
RANKS_FILE, DESCRIPTION_FILE = "ranks.tiktoken", "tokenizer.json"
BYTES_FILE, LEGACY_BYTES_FILE = "token_bytes.npy", "token_bytes_legacy.npy"


class Tokenizer:
    """Text to token ids and back; the four specials stand at the end of the vocabulary."""

    def __init__(self, ranks: dict[bytes, int]) -> None:
        import tiktoken

        self.ranks = ranks
        specials = {name: len(ranks) + i for i, name in enumerate(SPECIAL_TOKENS)}
        self.vocab_size = len(ranks) + len(specials)
        self.bos = specials[SPECIAL_TOKENS[0]]
        self._encoding: tiktoken.Encoding = tiktoken.Encoding(
            "autoresearch", pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=specials
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of the text alone: no BOS, and special names in the text are plain text."""
        return self._encoding.encode_ordinary(text)

    def encode_batch(self, texts: list[str], threads: int = 2) -> list[list[int]]:
        """As encode, for many texts over several threads."""
        return self._encoding.encode_ordinary_batch(texts, num_threads=threads)

    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens; bytes that are not valid UTF-8 become U+FFFD."""
        return self._encoding.decode(tokens)

    def token_bytes(self) -> npt.NDArray[np.int32]:
        """Exact byte length of each token, int32 [V]; specials count 0."""
        table = np.zeros(self.vocab_size, dtype=np.int32)
        for token, rank in self.ranks.items():
            table[rank] = len(token)
        return table

    def legacy_token_bytes(self) -> npt.NDArray[np.int32]:
        """Byte lengths through decode(), as the ancestors counted: 3 for a token that is not UTF-8 alone."""
        table = np.zeros(self.vocab_size, dtype=np.int32)
        for token, rank in self.ranks.items():
            table[rank] = len(token.decode("utf-8", "replace").encode("utf-8"))
        return table

    def save(self, folder: Path) -> str:
        """Writes the four files into an existing folder and returns the hash of the ranks."""
        ordered = sorted(self.ranks.items(), key=lambda item: item[1])
        ranks_text = "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ordered)
        digest = hashlib.sha256(ranks_text.encode()).hexdigest()
        (folder / RANKS_FILE).write_bytes(ranks_text.encode())
        description = {
            "format": 1,
            "pattern": SPLIT_PATTERN,
            "special_tokens": {name: len(self.ranks) + i for i, name in enumerate(SPECIAL_TOKENS)},
            "vocab_size": self.vocab_size,
            "ranks_sha256": digest,
        }
        (folder / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        np.save(folder / BYTES_FILE, self.token_bytes())
        np.save(folder / LEGACY_BYTES_FILE, self.legacy_token_bytes())
        return digest


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains byte-pair merges until the vocabulary, specials included, has vocab_size entries.

    Raises CorpusTooSmallError when the text has too few distinct pairs for that many entries.
    """
    import rustbpe

    wanted = vocab_size - len(SPECIAL_TOKENS)
    learner: Any = rustbpe.Tokenizer()
    learner.train_from_iterator(iter(texts), wanted, pattern=SPLIT_PATTERN)
    ranks = {bytes(token): int(rank) for token, rank in learner.get_mergeable_ranks()}
    if len(ranks) < wanted:
        raise CorpusTooSmallError(
            f"the corpus allows only {len(ranks) + len(SPECIAL_TOKENS)} of {vocab_size} vocabulary entries;"
            " add text or ask for a smaller --vocab-size"
        )
    return Tokenizer(ranks)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Reads a stored tokenizer. Raises DatasetCorruptError when its hash does not match."""
    try:
        raw = (folder / RANKS_FILE).read_bytes()
        description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DatasetCorruptError(
            f"{folder} holds no readable tokenizer ({error}); prepare it again"
        ) from error
    if hashlib.sha256(raw).hexdigest() != description.get("ranks_sha256"):
        raise DatasetCorruptError(f"{folder / RANKS_FILE} differs from its recorded hash; prepare it again")
    return Tokenizer(dict(_parse_ranks(raw)))


def load_token_bytes(folder: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The exact and the legacy byte table, each int32 [V]."""
    exact: npt.NDArray[np.int32] = np.load(folder / BYTES_FILE, allow_pickle=False)
    legacy: npt.NDArray[np.int32] = np.load(folder / LEGACY_BYTES_FILE, allow_pickle=False)
    return exact, legacy


def _parse_ranks(raw: bytes) -> Iterator[tuple[bytes, int]]:
    for line in raw.splitlines():
        token, rank = line.split()
        yield base64.b64decode(token), int(rank)
