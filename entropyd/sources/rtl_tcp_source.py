"""`rtl_tcp://HOST:PORT`: a dongle behind osmocom's rtl_tcp.

The server sends 12 bytes once, "RTL0", tuner type, number of gains, then I, Q bytes for ever. A command is
one byte and a big-endian u32. Only commands that every fork understands alike are sent: 0x0e means the
bias tee here and the bandwidth there.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Self

from entropyd.source import (
    Chunk,
    EntropySource,
    SourceDescription,
    SourceKind,
    SourceUnavailableError,
)
from entropyd.sources.tuning import Tuning
from services.addresses import parse_address

DEFAULT_PORT = 1234
SET_FREQUENCY, SET_RATE, SET_GAIN_MODE, SET_GAIN = 0x01, 0x02, 0x03, 0x04
SET_CORRECTION, SET_TEST_MODE, SET_AGC = 0x05, 0x07, 0x08
# rtl_tcp serves one client after the other, each that has left meanwhile for 5 s where it notices late, and
# up to two wait. Whoever leaves the queue before ten seconds have passed makes it longer for his next try.
PATIENCE_SECONDS = 15.0
_TUNERS = {1: "E4000", 2: "FC0012", 3: "FC0013", 4: "FC2580", 5: "R820T", 6: "R828D"}
_HIGHEST_GAIN_DB = {1: 42.0, 2: 19.2, 3: 19.7, 4: 0.0, 5: 49.6, 6: 49.6}


class RtlTcpSource:
    """One connection; rtl_tcp serves one client at a time and lets others wait without a word.

    `timeout` seconds may pass until there is a connection, `patience` more until the server says something.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tuning: Tuning,
        *,
        timeout: float = 3.0,
        patience: float = PATIENCE_SECONDS,
        test_mode: bool = False,
    ) -> None:
        self._host, self._port = host, port
        self._tuning = tuning
        self._timeout = timeout
        self._patience = patience
        self._test_mode = test_mode
        self._sequence = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def description(self) -> SourceDescription:
        megahertz = self._tuning.frequency_hz / 1e6
        detail = f"rtl_tcp://{self._host}:{self._port} @ {megahertz:g} MHz"
        return SourceDescription(SourceKind.RADIO, detail, raw=True)

    async def __aenter__(self) -> Self:
        where = f"rtl_tcp://{self._host}:{self._port}"
        try:
            async with asyncio.timeout(self._timeout):
                opening = asyncio.open_connection(self._host, self._port, limit=2 * self._tuning.chunk_bytes)
                self._reader, self._writer = await opening
        except TimeoutError as error:
            raise SourceUnavailableError(f"{where} does not answer", cause="refused") from error
        except OSError as error:
            raise SourceUnavailableError(
                f"{where} cannot be reached: {error.strerror or error}", cause="refused"
            ) from error
        try:
            async with asyncio.timeout(self._patience):
                header = await self._reader.readexactly(12)
            self._configure(header, where)
            await self._writer.drain()
        except TimeoutError as error:
            await self._close()
            raise SourceUnavailableError(
                f"{where} sends no header: another client is probably connected", cause="busy"
            ) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            await self._close()
            raise SourceUnavailableError(f"{where} hung up at once", cause="busy") from error
        except SourceUnavailableError:
            await self._close()
            raise
        return self

    def _configure(self, header: bytes, where: str) -> None:
        magic, tuner, _gains = struct.unpack(">4sII", header)
        if magic != b"RTL0":
            raise SourceUnavailableError(
                f"{where} is no rtl_tcp: it began with {magic!r}", cause="not-rtl-tcp"
            )
        gain = self._tuning.gain_db
        gain_db = _HIGHEST_GAIN_DB.get(tuner, 49.6) if gain is None else gain
        commands = (
            (SET_TEST_MODE, int(self._test_mode)),
            (SET_RATE, self._tuning.sample_rate),
            (SET_FREQUENCY, self._tuning.frequency_hz),
            (SET_AGC, 0),
            (SET_GAIN_MODE, 1),
            (SET_GAIN, round(gain_db * 10)),
            (SET_CORRECTION, 0),
        )
        assert self._writer is not None
        self._writer.write(b"".join(struct.pack(">BI", *command) for command in commands))

    async def __aexit__(self, *exc_info: object) -> None:
        await self._close()

    async def _close(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        if writer is None:
            return
        writer.transport.abort()  # rtl_tcp streams on: a graceful close would wait for it
        try:
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass  # it is gone either way

    async def read(self) -> Chunk:
        size = self._tuning.chunk_bytes
        if self._reader is None:
            raise SourceUnavailableError("the connection is closed", cause="unplugged")
        try:
            data = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise SourceUnavailableError(
                f"rtl_tcp://{self._host}:{self._port} ended the connection", cause="unplugged"
            ) from error
        chunk = Chunk(data, self._sequence, time.monotonic(), size)
        self._sequence += 1
        return chunk


def parse_rtl_tcp_url(url: str) -> tuple[str, int]:
    """Host and port of `rtl_tcp://HOST[:PORT]`. Raises ConfigurationError."""
    rest = url.removeprefix("rtl_tcp:").removeprefix("//").rstrip("/")
    if rest and ":" not in rest.rpartition("]")[2]:
        rest = f"{rest}:{DEFAULT_PORT}"
    address = parse_address(rest, name=f"--source {url!r}: rtl_tcp://HOST:PORT")
    return address.host, address.port


_: type[EntropySource] = RtlTcpSource
