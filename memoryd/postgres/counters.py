"""The counters of the store: the highest id ever given, and the epoch of the engine that writes."""

from __future__ import annotations

from typing import Any

from memoryd.checksums import SetAside, intact, sealed

HIGHEST_ID = "highest_id"
EPOCH = "epoch"


async def read_counter(connection: Any, name: str) -> tuple[int, bool]:
    """The amount, and whether it is there and passes its checksum."""
    cursor = await connection.execute(
        "SELECT name, amount, crc FROM memoryd.counter WHERE name = %s", (name,)
    )
    row = await cursor.fetchone()
    return (0, False) if row is None else (int(row[1]), intact(row))


async def write_counter(connection: Any, name: str, amount: int) -> None:
    await connection.execute(
        "INSERT INTO memoryd.counter (name, amount, crc) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO UPDATE SET amount = excluded.amount, crc = excluded.crc",
        sealed((name, amount)),
    )


async def raise_highest_id(cursor: Any, to: int) -> None:
    """Brings the mark to at least `to` inside the transaction that is open."""
    name, amount, crc = sealed((HIGHEST_ID, to))
    await cursor.execute(
        "UPDATE memoryd.counter SET amount = %s, crc = %s WHERE name = %s AND amount < %s",
        (amount, crc, name, amount),
    )


async def read_highest_id(connection: Any, damaged: SetAside) -> int:
    """The mark; the highest id that is there when it fails its checksum."""
    amount, is_intact = await read_counter(connection, HIGHEST_ID)
    if is_intact:
        return amount
    damaged.add("counter", HIGHEST_ID)
    row = await (await connection.execute("SELECT coalesce(max(id), 0) FROM memoryd.memory")).fetchone()
    return int(row[0])


async def repair_counters(connection: Any, damaged: SetAside) -> None:
    """Puts a damaged mark right. A deleted highest id can then be given again."""
    _, is_intact = await read_counter(connection, HIGHEST_ID)
    if not is_intact:
        await write_counter(connection, HIGHEST_ID, await read_highest_id(connection, damaged))


async def raise_epoch(connection: Any, damaged: SetAside) -> int:
    """The epoch of the engine that has just taken the writer's lock."""
    amount, is_intact = await read_counter(connection, EPOCH)
    if not is_intact:
        damaged.add("counter", EPOCH)
    await write_counter(connection, EPOCH, amount + 1)
    return amount + 1
