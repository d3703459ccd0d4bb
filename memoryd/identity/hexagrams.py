"""The 64 hexagrams as ferricula's identities use them: lines, trigrams, numbers, names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRIGRAMS = ("Heaven", "Lake", "Fire", "Thunder", "Wind", "Water", "Mountain", "Earth")
EMOTIONS = ("joy", "sadness", "anger", "surprise", "interest", "fear", "boredom", "trust")

# Rows: upper trigram, columns: lower trigram, both in the order above. The King Wen order, with the pairs
# Heaven/Wind, Thunder/Water, Wind/Water, Water/Earth and Mountain/Earth transposed as ferricula has them.
NUMBERS = (
    (1, 10, 13, 25, 9, 6, 33, 12),
    (43, 58, 49, 17, 28, 47, 31, 45),
    (14, 38, 30, 21, 50, 64, 56, 35),
    (34, 54, 55, 51, 32, 3, 62, 16),
    (44, 61, 37, 42, 57, 48, 53, 20),
    (5, 60, 63, 40, 59, 29, 39, 7),
    (26, 41, 22, 27, 18, 4, 52, 15),
    (11, 19, 36, 24, 46, 8, 23, 2),
)

NAMES = (
    "The Creative",
    "The Receptive",
    "Difficulty at the Beginning",
    "Youthful Folly",
    "Waiting",
    "Conflict",
    "The Army",
    "Holding Together",
    "Small Taming",
    "Treading",
    "Peace",
    "Standstill",
    "Fellowship",
    "Great Possession",
    "Modesty",
    "Enthusiasm",
    "Following",
    "Work on the Decayed",
    "Approach",
    "Contemplation",
    "Biting Through",
    "Grace",
    "Splitting Apart",
    "Return",
    "Innocence",
    "Great Taming",
    "Nourishment",
    "Great Preponderance",
    "The Abysmal",
    "The Clinging",
    "Influence",
    "Duration",
    "Retreat",
    "Great Power",
    "Progress",
    "Darkening of the Light",
    "The Family",
    "Opposition",
    "Obstruction",
    "Deliverance",
    "Decrease",
    "Increase",
    "Breakthrough",
    "Coming to Meet",
    "Gathering Together",
    "Pushing Upward",
    "Oppression",
    "The Well",
    "Revolution",
    "The Cauldron",
    "The Arousing",
    "Keeping Still",
    "Development",
    "The Marrying Maiden",
    "Abundance",
    "The Wanderer",
    "The Gentle",
    "The Joyous",
    "Dispersion",
    "Limitation",
    "Inner Truth",
    "Small Preponderance",
    "After Completion",
    "Before Completion",
)


@dataclass(frozen=True)
class Hexagram:
    """`lines` holds six of 6, 7, 8, 9, bottom first; trigrams are indexes into TRIGRAMS."""

    number: int
    name: str
    lines: tuple[int, ...]
    upper: int
    lower: int

    @property
    def upper_name(self) -> str:
        return TRIGRAMS[self.upper]

    @property
    def lower_name(self) -> str:
        return TRIGRAMS[self.lower]


def line_of(byte: int) -> int:
    """The line that a random byte throws: old yin 1/16, young yang 5/16, young yin 7/16, old yang 3/16."""
    if byte < 16:
        return 6
    if byte < 96:
        return 7
    return 8 if byte < 208 else 9


def hexagram_of(throws: Sequence[int]) -> Hexagram:
    """The hexagram of six random bytes, bottom line first."""
    lines = tuple(line_of(byte) for byte in throws)
    lower, upper = _trigram(lines[:3]), _trigram(lines[3:])
    number = NUMBERS[upper][lower]
    return Hexagram(number, NAMES[number - 1], lines, upper, lower)


def _trigram(lines: Sequence[int]) -> int:
    yang = [line % 2 for line in lines]
    return 7 - (yang[0] + 2 * yang[1] + 4 * yang[2])
