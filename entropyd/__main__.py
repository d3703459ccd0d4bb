"""The composition root of entropyd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from autoresearch.entropy.v1.entropy_pb2_grpc import add_EntropyServiceServicer_to_server
from prometheus_client import CollectorRegistry

from entropyd.accounting import Ledger
from entropyd.dispenser import Dispenser
from entropyd.draw import Policy
from entropyd.generator import Generator
from entropyd.grpc_api import SERVICE_NAME, EntropyServicer
from entropyd.health import HealthRecord
from entropyd.http_api import SdrRandomApi, is_compatible_path
from entropyd.office import ReceiptOffice
from entropyd.pools import FullPool
from entropyd.receipts import Signer
from entropyd.seed_packs import SeedPacks
from entropyd.settings import EntropydSettings
from entropyd.sources import source_opener
from entropyd.state_store import StateStore
from entropyd.station import Station
from entropyd.status import Identity, StatusCollector, installed_version
from services.addresses import parse_address
from services.call_observer import CallObserver
from services.http_server import HttpServer
from services.lifecycle import announce, wait_for_end
from services.logs import configure_logs
from services.rpc_server import GrpcServer
from services.settings import load_settings, run_main

log = logging.getLogger("entropyd")


async def serve(settings: EntropydSettings) -> None:
    """Runs the daemon until it is told to end."""
    open_source = source_opener(settings.source)
    dispenser = Dispenser(
        pool=FullPool(Ledger()), generator=Generator(), health=HealthRecord(), monotonic=time.monotonic
    )
    async with AsyncExitStack() as stack:
        folder = settings.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entropyd-")))
        store = stack.enter_context(StateStore(folder))
        signer = Signer(store.private_key)
        warnings = list_warnings(settings)
        for warning in warnings:
            log.warning(warning)
        identity = Identity(settings.source, 0.1, False, warnings, signer.verify_key, installed_version())
        office = ReceiptOffice(dispenser, store, signer)
        registry = CollectorRegistry()
        registry.register(StatusCollector(dispenser))
        api = SdrRandomApi(office, identity, policy=Policy(settings.http_policy))
        http = HttpServer(
            parse_address(settings.http_listen, name="--http-listen"),
            api.application(),
            security=settings.security(),
            registry=registry,
            http_open=settings.http_open,
            is_open_path=is_compatible_path,
        )
        grpc = GrpcServer(
            parse_address(settings.listen, name="--listen"),
            security=settings.security(),
            observer=CallObserver(registry),
            with_reflection=settings.reflection,
            drain_seconds=settings.drain_seconds,
        )
        servicer = EntropyServicer(office, SeedPacks(dispenser, store, signer), identity)
        grpc.add(add_EntropyServiceServicer_to_server, servicer, SERVICE_NAME)
        station = asyncio.create_task(Station(open_source, dispenser).run())
        stack.push_async_callback(end_task, station)
        await stack.enter_async_context(http)
        await stack.enter_async_context(grpc)
        stack.callback(dispenser.health.close)  # ends watches, which would hold up the drain
        announce("entropyd", {"grpc": str(grpc.address), "http": str(http.address)})
        await wait_for_end(with_parent=settings.exit_with_parent)


async def end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def list_warnings(settings: EntropydSettings) -> tuple[str, ...]:
    """What a careful operator should know, shown at start and in the status."""
    warnings = ["unassessed: the credited min-entropy is the default of 0.1 bit per sample"]
    if settings.state is None:
        warnings.append("no --state: signing key, receipts and seed packs end with this process")
    if settings.http_open:
        warnings.append("--http-open: the compatible HTTP routes answer without credentials")
    return tuple(warnings)


def run(arguments: Sequence[str]) -> int:
    settings = load_settings(EntropydSettings, arguments)
    configure_logs("entropyd", settings.log_level)
    asyncio.run(serve(settings))
    return 0


def main() -> None:
    sys.exit(run_main(run))


if __name__ == "__main__":
    main()
