"""Identities: SipHash, hexagrams and signs as ferricula draws them."""

from __future__ import annotations

import calendar

import pytest

from memoryd.identity.hexagrams import NUMBERS, hexagram_of, line_of
from memoryd.identity.identity import describe_identity, horoscope_of, make_identity, read_identity, seed_of
from memoryd.identity.siphash import siphash_1_3

OLD_YIN, YOUNG_YANG, YOUNG_YIN, OLD_YANG = 0, 16, 96, 208


def test_the_seed_golden() -> None:
    assert seed_of(1, (9, 9, 9, 9, 9, 9), 1772150400) == 2869448734


def test_siphash_depends_on_every_byte_and_the_length() -> None:
    values = {siphash_1_3(b"\x00" * length) for length in range(33)}
    assert len(values) == 33
    assert all(0 <= value < 2**64 for value in values)


@pytest.mark.parametrize(
    ("byte", "line"),
    [(0, 6), (15, 6), (16, 7), (95, 7), (96, 8), (207, 8), (208, 9), (255, 9)],
)
def test_lines_have_the_odds_of_yarrow_stalks(byte: int, line: int) -> None:
    assert line_of(byte) == line


def throw(lower: str, upper: str) -> int:
    """The number of a hexagram given as yang (1) and yin (0) lines, bottom first."""
    return hexagram_of([YOUNG_YANG if line == "1" else YOUNG_YIN for line in lower + upper]).number


def test_all_yang_is_one_and_all_yin_is_two() -> None:
    assert hexagram_of([OLD_YANG] * 6).number == 1
    assert hexagram_of([OLD_YIN] * 6).number == 2
    assert sorted(sum(NUMBERS, ())) == list(range(1, 65))


HEAVEN, WIND, THUNDER, WATER, MOUNTAIN, EARTH = "111", "110", "001", "010", "100", "000"
# Trigram index = 7 - bits, bottom line lowest: 110 (two yang at the bottom) has bits 3 and is Wind.


@pytest.mark.parametrize(
    ("upper", "lower", "number"),
    [
        (HEAVEN, WIND, 9),
        (WIND, HEAVEN, 44),
        (THUNDER, WATER, 3),
        (WATER, THUNDER, 40),
        (WIND, WATER, 48),
        (WATER, WIND, 59),
        (WATER, MOUNTAIN, 39),
        (MOUNTAIN, WATER, 4),
        (WATER, EARTH, 7),
        (EARTH, WATER, 8),
        (MOUNTAIN, EARTH, 15),
        (EARTH, MOUNTAIN, 23),
    ],
)
def test_the_transposed_pairs(upper: str, lower: str, number: int) -> None:
    assert throw(lower, upper) == number


@pytest.mark.parametrize(
    ("month", "day", "sign"),
    [
        (1, 1, "Capricorn"),
        (1, 19, "Capricorn"),
        (1, 20, "Aquarius"),
        (3, 20, "Pisces"),
        (3, 21, "Aries"),
        (6, 20, "Gemini"),
        (6, 21, "Cancer"),
        (11, 21, "Scorpio"),
        (12, 21, "Sagittarius"),
        (12, 22, "Capricorn"),
    ],
)
def test_signs_change_on_the_western_dates(month: int, day: int, sign: str) -> None:
    assert horoscope_of(calendar.timegm((2026, month, day, 12, 0, 0))).sign == sign


def test_an_identity_follows_from_its_moment_and_is_read_back() -> None:
    identity = make_identity(1772150400123456789)
    assert read_identity(identity.to_json()) == identity
    assert make_identity(1772150400123456790) != identity
    described = describe_identity(identity, active=("Craft",), heat=1.5, heated_at=2.0, version="1")
    assert described["agent_id"] == f"ferricula-{identity.character.seed:08x}"
    assert described["name"] == f"{described['hexagram']['name']} ({described['horoscope']['sign_name']})"
    states = {one["role"]: one["state"] for one in described["archetypes"]}
    assert states["Craft"] == "Listening"
    assert states["Ethics"] == "Dormant"
