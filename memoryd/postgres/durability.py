"""Settings of a server with which it confirms what a power cut can take back.

`kill -9` does not show them: the operating system keeps what was written but not synced.
"""

from __future__ import annotations

from typing import Any

# Setting, the value that keeps the promise, and what the other one does.
_SETTINGS = (
    ("fsync", "on", "a power cut can lose acknowledged memories"),
    (
        "full_page_writes",
        "on",
        "a power cut can tear pages with acknowledged memories, unless the storage writes whole pages",
    ),
    ("data_sync_retry", "off", "a failed sync can be passed over and acknowledged memories be lost"),
)
_QUERY = "SELECT " + ", ".join(f"current_setting('{name}', true)" for name, _, _ in _SETTINGS)


async def read_hazards(connection: Any) -> list[str]:
    """One warning for each such setting; the server may change them while it runs."""
    values = await (await connection.execute(_QUERY)).fetchone()
    return [
        f"the database runs with {name} {value}: {harm}; set {name} = {safe} and reload its configuration"
        for (name, safe, harm), value in zip(_SETTINGS, values, strict=True)
        if value is not None and value != safe
    ]


async def wait_for_syncs(connection: Any, chosen: str = "") -> str | None:
    """Makes the session's commits wait for the sync, whatever the server's default is or becomes.

    Stricter values (a standby that must confirm) are kept. `chosen` is for fault injection. Answers a
    warning when commits do not wait.
    """
    row = await (
        await connection.execute(
            "SELECT set_config('synchronous_commit', CASE WHEN %(chosen)s::text <> '' THEN %(chosen)s::text"
            " WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'"
            " ELSE current_setting('synchronous_commit') END, false)",
            {"chosen": chosen},
        )
    ).fetchone()
    if row[0] != "off":
        return None
    return "the database confirms before it syncs (synchronous_commit off): a crash can lose memories"
