"""Random requests to every route: always 200 or 400, always one of the known body kinds, never a stop."""

from __future__ import annotations

import json
import random

import pytest

from tests.memoryd.running import Running

ROUTES = (
    *(("POST", path) for path in ("/remember", "/recall", "/search", "/hybrid", "/query", "/confer")),
    *(("POST", path) for path in ("/connect", "/disconnect", "/offer", "/dream", "/checkpoint")),
    *(("POST", path) for path in ("/keystone/{}", "/delete/{}")),
    *(("GET", path) for path in ("/inspect/{}", "/get/{}", "/neighbors/{}", "/inversion/{}", "/skg/{}")),
    *(("GET", path) for path in ("/status", "/terms", "/skg", "/clock", "/identity", "/tools", "/maxid")),
    *(("GET", path) for path in ("/glossary", "/dream/latest", "/refs/distinct?field={}", "/health")),
    *(("DELETE", path) for path in ("/delete/{}", "/status", "/{}")),
)
WORDS = (
    "SELECT",
    "id",
    "FROM",
    "docs",
    "WHERE",
    "=",
    "'a'",
    "(",
    ")",
    "AND",
    "NOT",
    "LIMIT",
    "5",
    "[1,0]",
    "é",
)
BARE = ("/get", "/query", "/confer", "/tools", "/delete")


def value(chance: random.Random, depth: int = 0) -> object:
    kinds = [
        lambda: None,
        lambda: chance.choice([True, False]),
        lambda: chance.choice([0, 1, 2, -1, 2**31, 2**32, 2**70]),
        lambda: chance.choice([0.5, -0.0, 1e308, 1e-320]),
        lambda: " ".join(chance.choices(WORDS, k=chance.randrange(6))),
        lambda: "".join(chr(chance.choice([0, 10, 34, 0x2028, 0xD800, 0x1F600, 65])) for _ in range(4)),
    ]
    if depth < 2:
        kinds += [
            lambda: [value(chance, depth + 1) for _ in range(chance.randrange(4))],
            lambda: {f"k{number}": value(chance, depth + 1) for number in range(chance.randrange(3))},
        ]
    return chance.choice(kinds)()


def body(chance: random.Random) -> bytes:
    kind = chance.randrange(10)
    if kind == 0:
        return chance.randbytes(chance.randrange(40))
    if kind == 1:
        return " ".join(chance.choices(WORDS, k=chance.randrange(12))).encode()
    names = ("id", "tags", "vector", "text", "query", "sql", "k", "weight", "a", "b", "label", "kind", "ref")
    names += ("emotion", "importance", "keystone", "decay_alpha", "entropy", "context", "idempotency_key")
    found = {name: value(chance) for name in chance.sample(names, chance.randrange(1, 6))}
    if chance.random() < 0.4:
        found |= {"tags": {"text": "weber force"}, "vector": [1.0, 0.0, 0.5][: chance.randrange(4)]}
    text = json.dumps(found).encode()
    return text[: chance.randrange(len(text))] if kind == 2 else text


@pytest.mark.parametrize("seed", range(4))
async def test_random_requests_never_break_the_daemon(memoryd: Running, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(250):
        method, path = chance.choice(ROUTES)
        name = chance.choice(["1", "2", "0", "4294967295", "4294967296", "abc", "%00", "a=b", "weber"])
        path = path.format(name)
        status, text = await memoryd.send(method, path, body(chance))
        assert status in (200, 400)
        assert "internal error" not in text
        if not (text.startswith("error: ") and path.startswith(BARE)):
            json.loads(text)
    assert "error" not in (await memoryd.text("GET", "/status"))[:50]
    before = list(memoryd.engine.store.mirror.memories())
    edges = sorted(memoryd.engine.store.mirror.graph, key=lambda edge: edge.pair)
    stored, last = [], -1
    while page := await memoryd.engine.store.backend.scan(last, 100):
        stored += page
        last = page[-1].memory_id
    assert stored == before
    assert await memoryd.engine.store.backend.scan_edges((-1, -1), 1000) == edges
