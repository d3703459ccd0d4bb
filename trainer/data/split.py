"""Which texts validate: drawn by the hash of their content, and none that stands in other texts as well.

Equal texts are taken once (documents.without_duplicates). What is left still shares whole passages: packages
carry copies of others, and files are made from one another. A validation text of which much stands in
training text would measure how well a model remembers.
"""

from collections.abc import Callable, Collection, Iterable

from trainer.data.documents import Document

SPLIT_VERSION = 2  # data sets made by another rule are others
MOST_SHARED = 0.2  # of a validation text's groups of lines; licences and imports recur everywhere
GROUP_LINES = 4  # that follow each other; single lines recur by chance
SHORTEST_LINE = 4  # characters; brackets and blank lines say nothing
MARGIN = 1.5  # candidates beyond what is wanted, for those that fall out

Documents = Callable[[], Iterable[Document]]  # may be called again


def draw_validation(documents: Documents, validation_bytes: int, most: float = 0.2) -> frozenset[str]:
    """Content hashes of the documents that validate: of the eligible ones those of smallest hash of which
    other documents have at most MOST_SHARED.

    validation_bytes is how much text validation should have; it never takes more than the share
    `most` of all text. The draw depends on the texts alone, not on their order or names.
    """
    total = 0
    eligible: list[tuple[str, int]] = []
    for document in documents():
        total += len(document.text)
        if document.may_validate:
            eligible.append((document.content_hash, len(document.text)))
    wanted = min(validation_bytes, int(most * total))
    waiting = iter(sorted(eligible))
    drawn: set[str] = set()
    while wanted > 0 and (candidates := _take(waiting, int(MARGIN * wanted))):
        shares = shares_elsewhere([digest for digest, _ in candidates], documents)
        for digest, size in candidates:
            if wanted > 0 and shares[digest] <= MOST_SHARED:
                drawn.add(digest)
                wanted -= size
    return frozenset(drawn)


def shares_elsewhere(chosen: Collection[str], documents: Documents) -> dict[str, float]:
    """For each document whose content hash is chosen, the share of its groups of lines that stands in another
    document too, 0 to 1. Only the chosen ones' groups are held in memory."""
    wanted = set(chosen)
    groups = {
        document.content_hash: line_groups(document.text)
        for document in documents()
        if document.content_hash in wanted
    }
    holders = dict.fromkeys((group for own in groups.values() for group in own), 0)
    for document in documents():
        for group in line_groups(document.text):
            if group in holders:
                holders[group] += 1
    return {digest: sum(holders[group] > 1 for group in own) / len(own) for digest, own in groups.items()}


def line_groups(text: str) -> frozenset[int]:
    """Hashes of the groups of successive lines, without indentation; one of all lines where they are few."""
    lines = [line for line in map(str.strip, text.splitlines()) if len(line) >= SHORTEST_LINE]
    count = max(1, len(lines) - GROUP_LINES + 1)
    return frozenset(hash("\n".join(lines[first : first + GROUP_LINES])) for first in range(count))


def _take(waiting: Iterable[tuple[str, int]], size: int) -> list[tuple[str, int]]:
    """The next documents up to a size in all, at least one unless none is left."""
    taken: list[tuple[str, int]] = []
    for one in waiting:
        taken.append(one)
        size -= one[1]
        if size <= 0:
            break
    return taken
