"""The word indexes of a store as arrays, so that a start need not take every text apart again.

Taking texts apart is most of the work of a start. A snapshot is never trusted for a text that it was not
made of: each memory is compared by a fingerprint, and the whole by a hash of the code that makes terms.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from memoryd.memory import Memory
from memoryd.retrieval.bm25 import Bm25Index, _Posting
from memoryd.retrieval.index import RetrievalIndex


@dataclass(frozen=True)
class FrozenTerms:
    """One Bm25Index of n memories, t terms and p pairs of both.

    `ids` int64 [n], `lengths` float64 [n], `terms` in the order of creation, `ends` int64 [t]: where each
    term's part of `slots` int32 [p] (positions in `ids`, ascending) and `counts` int32 [p] ends.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.float64]
    terms: list[str]
    ends: NDArray[np.int64]
    slots: NDArray[np.int32]
    counts: NDArray[np.int32]


def freeze(index: Bm25Index) -> FrozenTerms:
    """The index without the slots of removed memories."""
    live = np.frombuffer(index._live, dtype=np.uint8) == 1
    new_slot = np.cumsum(live) - 1
    parts: list[NDArray[np.int64]] = []
    counts: list[NDArray[np.int64]] = []
    for posting in index._postings.values():
        slots, own = posting.views()
        kept = live[slots]
        parts.append(new_slot[slots[kept]])
        counts.append(own[kept])
    ends = np.cumsum(np.array([len(part) for part in parts], dtype=np.int64))
    nothing = [np.zeros(0, dtype=np.int64)]
    return FrozenTerms(
        np.frombuffer(index._ids, dtype=np.int64)[live],
        np.frombuffer(index._lengths)[live],
        list(index._postings),
        ends,
        np.concatenate(parts or nothing).astype(np.int32),
        np.concatenate(counts or nothing).astype(np.int32),
    )


def check(frozen: FrozenTerms) -> None:
    """Raises ValueError when the arrays do not fit each other."""
    size, pairs = len(frozen.ids), len(frozen.slots)
    sizes = np.diff(frozen.ends, prepend=0)
    if (
        len(frozen.lengths) != size
        or len(frozen.terms) != len(sizes)
        or len(set(frozen.terms)) != len(sizes)
        or len(frozen.counts) != pairs
        or int(sizes.sum()) != pairs
        or (sizes <= 0).any()
        or (pairs and not 0 <= int(frozen.slots.min()) <= int(frozen.slots.max()) < size)
        or len(set(frozen.ids.tolist())) != size
    ):
        raise ValueError("the snapshot's arrays do not fit each other")


def thaw(index: Bm25Index, frozen: FrozenTerms) -> None:
    """Fills an empty index from checked arrays."""
    size, pairs = len(frozen.ids), len(frozen.slots)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), frozen.ends])
    index._ids = array("q", frozen.ids.tobytes())
    index._lengths = array("d", frozen.lengths.tobytes())
    index._live = bytearray(b"\x01" * size)
    index._slots = dict(zip(frozen.ids.tolist(), range(size), strict=True))
    index._total_length = int(frozen.lengths.sum())
    index._pairs = pairs
    bounds = starts.tolist()
    for number, term in enumerate(frozen.terms):
        part = slice(bounds[number], bounds[number + 1])
        posting = index._postings[term] = _Posting()
        posting.slots = array("q", frozen.slots[part].astype(np.int64).tobytes())
        posting.counts = array("q", frozen.counts[part].astype(np.int64).tobytes())
        posting.live = len(posting.slots)
    index._terms_of = _terms_by_slot(frozen, np.diff(starts), size)


def _terms_by_slot(frozen: FrozenTerms, sizes: NDArray[np.int64], size: int) -> list[tuple[str, ...]]:
    order = np.argsort(frozen.slots, kind="stable")
    numbers = np.repeat(np.arange(len(sizes)), sizes)[order].tolist()
    names = list(map(frozen.terms.__getitem__, numbers))
    ends = np.cumsum(np.bincount(frozen.slots, minlength=size)).tolist()
    starts = [0, *ends[:-1]]
    return [tuple(names[start:end]) for start, end in zip(starts, ends, strict=True)]


class Prepared:
    """A snapshot in use: tells which memories need only their vector and time. Ends with `finish`."""

    def __init__(self, index: RetrievalIndex, fingerprints: dict[int, int]) -> None:
        self._index = index
        self._waiting = fingerprints
        self.placed = 0

    def place(self, memory: Memory) -> bool:
        """Indexes a memory whose terms are there already; False when its text is another one.

        Raises ValueError for a vector of another dimension; the memory can then be placed without it.
        """
        memory_id = memory.memory_id
        if self._waiting.get(memory_id) != fingerprint(memory.row.text):
            return False
        index, created = self._index, memory.record.created_at
        index.vectors.add(memory_id, memory.row.vector)
        index._forget_time(memory_id)
        index._created[memory_id] = created
        insort(index._timeline, (created, memory_id))
        del self._waiting[memory_id]
        self.placed += 1
        return True

    def finish(self) -> None:
        """Takes out what the store does not hold any more."""
        for memory_id in self._waiting:
            if memory_id not in self._index._created:
                self._index.words.remove(memory_id)
                self._index.terms.remove(memory_id)
        self._waiting = {}


def fingerprint(text: str) -> int:
    """64 bits of a hash of the text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@cache
def code_hash() -> str:
    """A hash of every source that makes terms of texts: another version must not use old terms."""
    total = hashlib.sha256(b"1")  # the version of this layout
    for source in sorted(files("memoryd.retrieval").iterdir(), key=lambda entry: entry.name):
        if source.name.endswith(".py"):
            total.update(source.name.encode() + source.read_bytes())
    return total.hexdigest()


def pack(index: RetrievalIndex, memories: Iterable[Memory]) -> bytes:
    """A snapshot of the words of exactly these memories."""
    prints = {memory.memory_id: fingerprint(memory.row.text) for memory in memories}
    arrays: dict[str, NDArray[np.generic]] = {"code": _bytes_of(code_hash())}
    for name, part in (("words", freeze(index.words)), ("terms", freeze(index.terms))):
        arrays |= {
            f"{name}_ids": part.ids,
            f"{name}_lengths": part.lengths,
            f"{name}_terms": _bytes_of(json.dumps(part.terms)),
            f"{name}_ends": part.ends,
            f"{name}_slots": part.slots,
            f"{name}_counts": part.counts,
        }
    ids = arrays["words_ids"].tolist()
    arrays["prints"] = np.array([prints[memory_id] for memory_id in ids], dtype=np.uint64)
    file = BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def unpack(data: bytes, index: RetrievalIndex) -> Prepared | None:
    """Fills an empty index from a snapshot; None, and the index as it was, when that is of no use."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as arrays:  # a zip: every part has a CRC-32
            if _text_of(arrays["code"]) != code_hash():
                return None
            parts = [_read(arrays, name) for name in ("words", "terms")]
            prints = dict(zip(parts[0].ids.tolist(), arrays["prints"].tolist(), strict=True))
    except (ValueError, TypeError, KeyError, OSError, EOFError, BadZipFile, zlib.error):
        return None
    if len(index) or set(prints) != set(parts[1].ids.tolist()):
        return None
    thaw(index.words, parts[0])
    thaw(index.terms, parts[1])
    return Prepared(index, prints)


def _read(arrays: np.lib.npyio.NpzFile, name: str) -> FrozenTerms:
    frozen = FrozenTerms(
        arrays[f"{name}_ids"].astype(np.int64),
        arrays[f"{name}_lengths"].astype(np.float64),
        [str(term) for term in json.loads(_text_of(arrays[f"{name}_terms"]))],
        arrays[f"{name}_ends"].astype(np.int64),
        arrays[f"{name}_slots"].astype(np.int32),
        arrays[f"{name}_counts"].astype(np.int32),
    )
    check(frozen)
    return frozen


def _bytes_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


def _text_of(data: NDArray[np.uint8]) -> str:
    return data.tobytes().decode("utf-8")
