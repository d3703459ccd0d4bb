"""Rows of equal length out of documents: best-fit packing without padding.

Every row starts with BOS and has exactly row_length tokens. Into a row goes the largest buffered
document that still fits whole; when none fits, the shortest is cropped to fill it. Nothing is padded,
and what a crop cuts off is not used again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint16]
BUFFERED_DOCUMENTS = 1000


def split_long(documents: Iterable[Tokens], bos: int, row_length: int) -> Iterator[Tokens]:
    """Cuts documents longer than a row into pieces that each start with BOS.

    Short rows would otherwise throw away most of a corpus of long documents. Documents come with
    their BOS; so do the pieces.
    """
    for document in documents:
        if len(document) <= row_length:
            yield document
            continue
        body = document[1:]
        for start in range(0, len(body), row_length - 1):
            piece = np.empty(min(row_length - 1, len(body) - start) + 1, dtype=np.uint16)
            piece[0] = bos
            piece[1:] = body[start : start + row_length - 1]
            if len(piece) > 1:
                yield piece


def pack_rows(
    documents: Iterable[Tokens], row_length: int, buffered: int = BUFFERED_DOCUMENTS
) -> Iterator[Tokens]:
    """Yields rows, uint16 [row_length]; each document must begin with its BOS.

    Ends when the documents left in the buffer cannot fill another row.
    """
    source = iter(documents)
    by_length: list[Tokens] = []
    lengths: list[int] = []
    held = 0
    exhausted = False
    while True:
        while not exhausted and len(by_length) < buffered:
            document = next(source, None)
            if document is None:
                exhausted = True
            else:
                position = bisect_left(lengths, len(document))
                lengths.insert(position, len(document))
                by_length.insert(position, document)
                held += len(document)
        if held < row_length:
            return
        row = np.empty(row_length, dtype=np.uint16)
        filled = 0
        while filled < row_length:
            fitting = bisect_right(lengths, row_length - filled)
            chosen = max(fitting - 1, 0)  # none fits: the shortest, cropped
            document = by_length.pop(chosen)
            held -= lengths.pop(chosen)
            part = document[: row_length - filled]
            row[filled : filled + len(part)] = part
            filled += len(part)
        yield row
