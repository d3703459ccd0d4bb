"""The wire of gnosis-radio and sdr-rand, byte for byte, over raw sockets."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path

import pytest

from entropyd.dispensing.draw import Policy
from entropyd.health import HealthState
from services.addresses import Address
from tests.entropyd.dispensing.test_dispenser import make_healthy
from tests.entropyd.http_side import ask, serve_http

OURS = [
    "source",
    "source_detail",
    "quality",
    "health",
    "claimed_min_entropy_bits",
    "draw_id",
    "seed_generation",
]


async def test_json_begins_with_their_four_keys_and_adds_ours_behind(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        answer = await ask(side.address, "/api/entropy?bytes=8")
    expected = '{"bytes_requested":8,"bytes_returned":8,"pool_remaining":72,"entropy_hex":"' + "02" * 8 + '",'
    assert answer.body.decode().startswith(expected)
    assert list(json.loads(answer.body)) == [
        "bytes_requested",
        "bytes_returned",
        "pool_remaining",
        "entropy_hex",
        *OURS,
    ]
    assert json.loads(answer.body)["source"] == "radio"
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert int(answer.headers["content-length"]) == len(answer.body)


async def test_hex_and_raw_carry_the_same_facts_in_headers(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        as_hex = await ask(side.address, "/api/entropy?bytes=16&format=hex")
        as_raw = await ask(side.address, "/api/entropy?bytes=16&format=raw")
    assert (as_hex.body, as_hex.headers["content-type"]) == (b"02" * 16, "text/plain")
    assert (as_raw.body, as_raw.headers["content-type"]) == (b"\x03" * 16, "application/octet-stream")
    assert as_raw.headers["x-entropy-source"] == "radio"
    assert as_raw.headers["x-entropy-claimed-min-entropy-bits"] == "128.0"
    assert as_raw.headers["x-entropy-pool-remaining"] == "48"
    assert as_raw.headers["access-control-allow-origin"] == "*"
    for name in OURS:
        assert f"x-entropy-{name.replace('_', '-')}" in as_hex.headers


async def test_a_drained_pool_answers_200_with_nothing(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        first = json.loads((await ask(side.address, "/api/entropy?bytes=99999")).body)
        second = json.loads((await ask(side.address, "/api/entropy")).body)
        raw = await ask(side.address, "/api/entropy?format=raw")
    assert (first["bytes_requested"], first["bytes_returned"], first["pool_remaining"]) == (4096, 80, 0)
    assert (second["bytes_returned"], second["entropy_hex"], second["source"]) == (0, "", "radio")
    assert (raw.status, raw.body) == (200, b"")


async def test_bytes_0_draws_nothing(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        answer = json.loads((await ask(side.address, "/api/entropy?bytes=0")).body)
        assert (answer["bytes_requested"], answer["bytes_returned"], answer["entropy_hex"]) == (0, 0, "")
        assert answer["pool_remaining"] == 80


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_time_is_the_host_clock_in_their_form(tmp_path: Path, version: str) -> None:
    async with serve_http(tmp_path) as side:
        for target in ("/api/time", "/api/time?x=1"):
            answer = await ask(side.address, target, version=version)
            assert answer.body == b'{"epoch":1783501811,"source":"system","utc":"2026-07-08T09:10:11Z"}'
            assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/"),
        ("GET", "/api"),
        ("GET", "/api/entropy/"),
        ("GET", "/api/entropyx"),
        ("GET", "/API/ENTROPY"),
        ("GET", "/api/time/"),
        ("GET", "/api/%65ntropy"),
        ("POST", "/api/entropy"),
        ("PUT", "/api/time"),
        ("HEAD", "/api/entropy"),
        ("DELETE", "/api/status"),
        ("OPTIONS", "/api/entropy"),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_404_without_cors(
    tmp_path: Path, method: str, target: str
) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        answer = await ask(side.address, target, method=method)
        assert side.dispenser.pool.byte_count == 80
    assert answer.status == 404
    assert answer.body == (b"" if method == "HEAD" else b'{"error":"Not found"}')
    assert answer.headers["content-type"] == "application/json"
    assert "access-control-allow-origin" not in answer.headers


async def test_without_a_radio_everything_says_os(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        side.dispenser.health.set(HealthState.ABSENT, failing_test="no-device")
        answer = json.loads((await ask(side.address, "/api/entropy?bytes=64")).body)
        raw = await ask(side.address, "/api/entropy?bytes=64&format=raw")
        metrics = (await ask(side.address, "/metrics")).body.decode()
        receipts = side.store.receipts(10)
    assert (answer["source"], answer["quality"], answer["claimed_min_entropy_bits"]) == ("os", "drbg", 0.0)
    assert (answer["bytes_returned"], answer["pool_remaining"]) == (64, 0)
    assert (raw.headers["x-entropy-source"], len(raw.body)) == ("os", 64)
    assert [json.loads(receipt.statement)["source"] for receipt in receipts] == ["os", "os"]
    assert answer["entropy_hex"] not in "".join(receipt.statement for receipt in receipts)
    assert 'entropyd_served_bytes_total{source="os"} 128.0' in metrics
    assert 'entropyd_served_bytes_total{source="radio"} 0.0' in metrics
    assert 'entropyd_alarms_total{test="carrier"} 2.0' in metrics


@pytest.mark.parametrize("target", ["/api/entropy?policy=refuse", "/api/entropy"])
async def test_a_refusal_is_503_without_any_entropy_hex(tmp_path: Path, target: str) -> None:
    policy = Policy.FALLBACK if "refuse" in target else Policy.REFUSE
    async with serve_http(tmp_path, policy=policy) as side:
        side.dispenser.health.set(HealthState.FAILED, failing_test="clipping", explanation="too loud")
        answer = await ask(side.address, target)
    assert answer.status == 503
    assert b"entropy_hex" not in answer.body
    assert b'"hex"' not in answer.body
    body = json.loads(answer.body)
    assert (body["failing_test"], body["bytes_returned"]) == ("clipping", 0)
    assert "access-control-allow-origin" not in answer.headers


async def test_the_stream_waits_then_sends_at_most_128_bytes_a_second(tmp_path: Path) -> None:
    async with serve_http(tmp_path, stream_pause=0.05) as side:
        make_healthy(side.dispenser, blocks=6)  # 144 bytes beside the seed
        reader, writer = await asyncio.open_connection(side.address.host, side.address.port)
        writer.write(b"GET /api/entropy/stream?whatever HTTP/1.0\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        events = [await asyncio.wait_for(reader.readuntil(b"\n\n"), 5) for _ in range(3)]
        writer.close()
    assert b"Content-Type: text/event-stream\r\n" in head
    assert b"Cache-Control: no-cache\r\n" in head
    assert b"X-Entropy-Source: radio\r\n" in head
    assert b"X-Entropy-Health: healthy\r\n" in head
    assert b"Access-Control-Allow-Origin: *\r\n" in head
    assert b"chunked" not in head.lower()
    assert [json.loads(event.removeprefix(b"data: "))["bytes"] for event in events] == [128, 16, 0]
    assert re.match(rb'data: \{"bytes":128,"hex":"[0-9a-f]{256}","source":"radio",', events[0])
    assert events[2].startswith(b'data: {"bytes":0,"hex":""')
    assert not any(line.startswith((b"id", b"event", b"retry")) for e in events for line in e.splitlines())


async def test_a_stream_whose_receipts_cannot_be_written_says_so_and_goes_on(tmp_path: Path) -> None:
    async with serve_http(tmp_path, stream_pause=0.05) as side:
        make_healthy(side.dispenser, blocks=200)
        database = side.store._database
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages}")  # a full disk: SQLITE_FULL at the next page
        reader, writer = await asyncio.open_connection(side.address.host, side.address.port)
        writer.write(b"GET /api/entropy/stream HTTP/1.0\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        events = []
        while len(events) < 20 and sum("error" in event for event in events) < 2:
            line = await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)
            events.append(json.loads(line.removeprefix(b"data: ")))
        database.execute("PRAGMA max_page_count=1000000")
        last = json.loads((await asyncio.wait_for(reader.readuntil(b"\n\n"), 5)).removeprefix(b"data: "))
        writer.close()
    refused = [event for event in events if "error" in event]
    assert len(refused) == 2
    assert all((event["bytes"], event["hex"]) == (0, "") for event in refused)
    assert "the state folder cannot be written" in refused[0]["error"]
    assert last["bytes"] == 128


async def test_http_1_0_is_answered_unchunked_while_eight_streams_drain(tmp_path: Path) -> None:
    async with serve_http(tmp_path, stream_pause=0.02) as side:
        make_healthy(side.dispenser, blocks=200)
        writers = []
        for _ in range(8):
            reader, writer = await asyncio.open_connection(side.address.host, side.address.port)
            writer.write(b"GET /api/entropy/stream HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\n\n")
            writers.append(writer)
        for _ in range(50):
            answer = await ask(side.address, "/api/entropy?bytes=8&format=json", version="1.0")
            assert "transfer-encoding" not in answer.headers
            assert int(answer.headers["content-length"]) == len(answer.body)
        for writer in writers:
            writer.close()


async def test_status_tells_what_the_metrics_tell(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser)
        body = json.loads((await ask(side.address, "/api/status")).body)
    assert (body["pool"], body["health"], body["blocks"], body["credited_bits"]) == (80, "healthy", 4, 1280.0)
    assert (body["assessment"], body["warnings"]) == ("unassessed", ["a warning"])
    assert body["min_entropy_bits_per_sample"] == 0.1


# The parsers of the four known clients, written again from what is known of them.


async def train_py_seed(address: Address) -> int:
    """`?bytes=8&format=json`; the seed is the hex read as a big-endian number."""
    answer = await ask(address, "/api/entropy?bytes=8&format=json", timeout=2)
    return int(json.loads(answer.body)["entropy_hex"], 16)


def ferricula_clock(address: Address) -> tuple[dict[str, object], bytes]:
    """HTTP/1.0 over TCP with 500 ms, reads to the end as UTF-8, cuts at the first '{', ignores the status."""

    def get(target: str) -> dict[str, object]:
        with socket.create_connection((address.host, address.port), timeout=0.5) as link:
            link.settimeout(0.5)
            link.sendall(f"GET {target} HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            text = b""
            while part := link.recv(4096):
                text += part
        return json.loads(text.decode("utf-8").split("\r\n\r\n", 1)[1])

    clock = get("/api/time")
    return clock, bytes.fromhex(str(get("/api/entropy?bytes=64&format=json").get("entropy_hex", "")))


async def ferricula_alpha(address: Address) -> int:
    """Eight bytes as a little-endian number; fewer are a failure."""
    data = bytes.fromhex(json.loads((await ask(address, "/api/entropy?bytes=8")).body)["entropy_hex"])
    if len(data) < 8:
        raise ValueError("short")
    return int.from_bytes(data, "little")


async def arena_radio_entropy(address: Address, count: int) -> str:
    body = json.loads((await ask(address, f"/api/entropy?bytes={min(count, 64)}")).body)
    return str(body["entropy_hex"])


async def test_the_four_known_clients_read_our_answers(tmp_path: Path) -> None:
    async with serve_http(tmp_path) as side:
        make_healthy(side.dispenser, blocks=8)
        seed = await train_py_seed(side.address)
        assert seed == int("02" * 8, 16)
        clock, data = await asyncio.to_thread(ferricula_clock, side.address)
        assert clock["epoch"] == 1783501811
        assert data == bytes([2]) * 8 + bytes([3]) * 32 + bytes([4]) * 24
        assert await ferricula_alpha(side.address) == int.from_bytes(bytes([4]) * 8, "little")
        assert await arena_radio_entropy(side.address, 8) == "05" * 8


async def test_a_refusal_gives_the_status_blind_client_nothing(tmp_path: Path) -> None:
    async with serve_http(tmp_path, policy=Policy.REFUSE) as side:
        _, data = await asyncio.to_thread(ferricula_clock, side.address)
    assert data == b""
