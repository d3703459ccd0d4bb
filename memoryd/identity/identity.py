"""The identity of a store: drawn once from the time of its first start, then kept for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memoryd.identity.hexagrams import EMOTIONS, Hexagram, hexagram_of
from memoryd.identity.siphash import siphash_1_3

ROLES = ("Intuition", "Fortune", "Craft", "Ethics", "Advocate")

# (first month, first day) of each sign; Capricorn runs over the end of the year.
_SIGNS = (
    ((1, 20), "Aquarius", "Air", "Fixed"),
    ((2, 19), "Pisces", "Water", "Mutable"),
    ((3, 21), "Aries", "Fire", "Cardinal"),
    ((4, 20), "Taurus", "Earth", "Fixed"),
    ((5, 21), "Gemini", "Air", "Mutable"),
    ((6, 21), "Cancer", "Water", "Cardinal"),
    ((7, 23), "Leo", "Fire", "Fixed"),
    ((8, 23), "Virgo", "Earth", "Mutable"),
    ((9, 23), "Libra", "Air", "Cardinal"),
    ((10, 23), "Scorpio", "Water", "Fixed"),
    ((11, 22), "Sagittarius", "Fire", "Mutable"),
    ((12, 22), "Capricorn", "Earth", "Cardinal"),
)


@dataclass(frozen=True)
class Horoscope:
    sign: str
    element: str
    modality: str


@dataclass(frozen=True)
class Character:
    """A hexagram, a sign and a seed: of the store itself, or of one of its archetypes."""

    hexagram: Hexagram
    horoscope: Horoscope
    seed: int

    @property
    def primary_emotion(self) -> str:
        return EMOTIONS[self.hexagram.upper]

    @property
    def secondary_emotion(self) -> str:
        return EMOTIONS[self.hexagram.lower]


@dataclass(frozen=True)
class Identity:
    """All of it follows from `created_ns`, nanoseconds since 1970."""

    created_ns: int
    character: Character
    archetypes: tuple[Character, ...]

    @property
    def created_at(self) -> int:
        return self.created_ns // 1_000_000_000

    @property
    def agent_id(self) -> str:
        return f"ferricula-{self.character.seed:08x}"

    @property
    def name(self) -> str:
        return f"{self.character.hexagram.name} ({self.character.horoscope.sign})"

    def to_json(self) -> str:
        return json.dumps({"created_ns": self.created_ns})


def make_identity(created_ns: int) -> Identity:
    """The identity of a store that was first started at this time."""
    entropy = [(created_ns >> (4 * position)) & 0xFF for position in range(32)]
    epoch = created_ns // 1_000_000_000

    def character(number: int) -> Character:
        throws = [entropy[(6 * number + line) % 32] ^ (37 * number) & 0xFF for line in range(6)]
        hexagram = hexagram_of(throws)
        return Character(
            hexagram,
            horoscope_of(epoch + 3600 * number),
            seed_of(hexagram.number, hexagram.lines, epoch + number),
        )

    return Identity(created_ns, character(0), tuple(character(number) for number in range(5)))


def read_identity(text: str) -> Identity:
    """The identity that `to_json` wrote."""
    return make_identity(int(json.loads(text)["created_ns"]))


def horoscope_of(epoch: int) -> Horoscope:
    """The Western sign of a UTC date."""
    date = datetime.fromtimestamp(epoch, UTC)
    current = _SIGNS[-1]
    for sign in _SIGNS:
        if (date.month, date.day) >= sign[0]:
            current = sign
    return Horoscope(*current[1:])


def seed_of(number: int, lines: Sequence[int], epoch: int) -> int:
    """32 bits that stand for a hexagram thrown at a time."""
    text = f"{number}:{','.join(map(str, lines))}:{epoch}"
    return siphash_1_3(text.encode() + b"\xff") & 0xFFFF_FFFF


def describe_identity(
    identity: Identity, *, active: Sequence[str], heat: float, heated_at: float, version: str
) -> dict[str, Any]:
    """The JSON object of GET /identity."""
    return {
        **_describe(identity.character),
        "agent_id": identity.agent_id,
        "name": identity.name,
        "identity_seed": identity.character.seed,
        "created_at": identity.created_at,
        "archetypes": [
            {
                "role": role,
                **_describe(character),
                "seed": character.seed,
                "active": role in active,
                "state": "Listening" if role in active else "Dormant",
            }
            for role, character in zip(ROLES, identity.archetypes, strict=True)
        ],
        "cognitive_heat": heat,
        "last_heat_update": int(heated_at),
        "version": version,
    }


def _describe(character: Character) -> Mapping[str, Any]:
    hexagram, horoscope = character.hexagram, character.horoscope
    return {
        "hexagram": {
            "number": hexagram.number,
            "name": hexagram.name,
            "lines": list(hexagram.lines),
            "upper_trigram": hexagram.upper,
            "lower_trigram": hexagram.lower,
            "upper_name": hexagram.upper_name,
            "lower_name": hexagram.lower_name,
        },
        "horoscope": {
            "sign": horoscope.sign,
            "sign_name": horoscope.sign,
            "element": horoscope.element,
            "modality": horoscope.modality,
        },
        "primary_emotion": character.primary_emotion,
        "secondary_emotion": character.secondary_emotion,
    }
