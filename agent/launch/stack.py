"""The daemons of a lab: started together, restarted when one dies, stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self

from agent.launch.addresses import DaemonAddress, write_addresses
from agent.launch.launcher import Daemon, start_daemon
from agent.launch.plan import DaemonPlan, LaunchOptions, plan_agent, plan_peers
from services.errors import ServiceError, UnavailableError

STOP_SECONDS = 2.0
RESTARTS_IN_A_ROW = 5
STEADY_SECONDS = 60.0


class Stack(AbstractAsyncContextManager["Stack"]):
    """Inside `async with` all daemons serve and the address file is true.

    A daemon that dies is started again on the port it had, at most five times in a row; then `broken` is
    set to the error. `restarted` counts the restarts. Leaving stops agentd first, then its peers, each with
    its descendants, within about five seconds.
    """

    def __init__(
        self,
        options: LaunchOptions,
        *,
        note: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._note = note
        self._sleep = sleep
        self._logs = options.state / "logs"
        self._daemons: dict[str, Daemon] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.broken: asyncio.Future[ServiceError] = asyncio.get_running_loop().create_future()
        self.restarted = 0

    @property
    def address_file(self) -> Path:
        return self._options.state / "addresses.json"

    @property
    def addresses(self) -> dict[str, DaemonAddress]:
        return {
            name: DaemonAddress(daemon.process.pid, daemon.grpc, daemon.http)
            for name, daemon in self._daemons.items()
        }

    async def __aenter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            plans = plan_peers(self._options)
            await self._start_together(plans)
            started = {name: daemon.grpc for name, daemon in self._daemons.items()}
            await self._start_together([plan_agent(self._options, started)])
        except BaseException:
            await self._stop()
            raise
        self._watchers = [asyncio.create_task(self._keep_alive(name)) for name in self._daemons]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.shield(asyncio.create_task(self._stop()))

    async def _start_together(self, plans: list[DaemonPlan]) -> None:
        async def start(plan: DaemonPlan) -> None:
            self._daemons[plan.name] = await start_daemon(plan, self._logs)

        try:
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    group.create_task(start(plan))
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from None
        write_addresses(self.address_file, self.addresses)

    async def _keep_alive(self, name: str) -> None:
        failures = 0
        while True:
            daemon = self._daemons[name]
            began = time.monotonic()
            code = await daemon.process.wait()
            if self._stopping:
                return
            failures = 0 if time.monotonic() - began > STEADY_SECONDS else failures
            while True:
                failures += 1
                if failures > RESTARTS_IN_A_ROW:
                    self._break(UnavailableError(f"{name} keeps ending (code {code}); see {self._logs}"))
                    return
                self._note(f"{name} ended with code {code}; starting it again")
                await self._sleep(min(0.2 * 2 ** (failures - 1), 5.0))
                try:
                    await daemon.stop(0.0)  # what it had started must not outlive it
                    self._daemons[name] = await start_daemon(_same_ports(daemon), self._logs)
                except (ServiceError, OSError) as error:
                    self._note(f"{name} did not start again: {error}")
                    continue
                break
            self.restarted += 1
            try:
                write_addresses(self.address_file, self.addresses)
            except OSError as error:  # a full disk: the ports are the same, and the daemon must be watched on
                self._note(f"{self.address_file} could not be written: {error}")

    def _break(self, error: ServiceError) -> None:
        if not self.broken.done():
            self.broken.set_result(error)

    async def _stop(self) -> None:
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        with contextlib.suppress(OSError):  # the daemons must be stopped, whatever became of the file
            self.address_file.unlink()
        agent = self._daemons.pop("agentd", None)
        if agent is not None:
            await agent.stop(STOP_SECONDS)
        await asyncio.gather(*(daemon.stop(STOP_SECONDS) for daemon in self._daemons.values()))
        self._daemons.clear()


def _same_ports(daemon: Daemon) -> DaemonPlan:
    """The plan with the addresses that the daemon had: its peers go on knowing it."""
    arguments = list(daemon.plan.arguments)
    for flag, address in (("--listen", daemon.grpc), ("--http-listen", daemon.http)):
        if address:
            arguments[arguments.index(flag) + 1] = address
    return dataclasses.replace(daemon.plan, arguments=tuple(arguments))
