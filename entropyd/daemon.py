"""Puts the daemon together from its parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from autoresearch.entropy.v1.entropy_pb2_grpc import add_EntropyServiceServicer_to_server
from prometheus_client import CollectorRegistry

from entropyd.api.grpc_api import SERVICE_NAME, EntropyServicer
from entropyd.api.http_api import SdrRandomApi, is_compatible_path
from entropyd.api.status import Identity, StatusCollector
from entropyd.assessment.site_report import SiteReport, read_report
from entropyd.conditioning.accounting import Ledger
from entropyd.conditioning.pipeline import DEFAULT_MIN_ENTROPY, PipelineSettings
from entropyd.conditioning.pools import FullPool
from entropyd.dispensing.dispenser import Dispenser
from entropyd.dispensing.draw import Policy
from entropyd.dispensing.generator import Generator
from entropyd.health import HealthRecord
from entropyd.records.office import ReceiptOffice
from entropyd.records.receipts import Signer
from entropyd.records.seed_packs import SeedPacks
from entropyd.records.state_store import StateStore
from entropyd.settings import EntropydSettings
from entropyd.sources import refuse_missing_file, source_opener
from entropyd.station import Station
from services.daemon import Servers
from services.version import installed_version

log = logging.getLogger(__name__)


async def serve(settings: EntropydSettings) -> None:
    """Runs the daemon until it is told to end."""
    tuning = settings.tuning()
    refuse_missing_file(settings.source, tuning.chunk_bytes)
    open_source = source_opener(
        settings.source,
        tuning,
        token=settings.remote_token(),
        usb_devices=settings.usb_devices,
        trust=settings.https_trust(),
    )
    dispenser = Dispenser(
        pool=FullPool(Ledger()), generator=Generator(), health=HealthRecord(), monotonic=time.monotonic
    )
    async with AsyncExitStack() as stack:
        folder = settings.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entropyd-")))
        store = stack.enter_context(StateStore(folder))
        signer = Signer(store.private_key)
        detail = open_source().description.detail
        report, problem = read_report(folder, signer.verify_key, source_detail=detail, tuning=tuning)
        min_entropy = report.min_entropy if report else DEFAULT_MIN_ENTROPY
        station = Station(
            open_source,
            dispenser,
            pipeline=PipelineSettings(min_entropy, max_gap_seconds=tuning.longest_gap_seconds),
            timers=settings.timers(),
        )
        warnings = list_warnings(settings, report, problem)
        for warning in warnings:
            log.warning(warning)
        identity = Identity(
            source_url=settings.source,
            min_entropy_bits_per_sample=float(min_entropy),
            assessed=report is not None,
            warnings=warnings,
            verify_key=signer.verify_key,
            version=installed_version(),
        )
        office = ReceiptOffice(dispenser, store, signer)
        servicer = EntropyServicer(office, SeedPacks(dispenser, store, signer), identity)
        api = SdrRandomApi(office, identity, policy=Policy(settings.http_policy))
        registry = CollectorRegistry()
        registry.register(StatusCollector(dispenser, station.alarms))
        servers = Servers(
            settings,
            api.application(),
            registry,
            http_open=settings.http_open,
            is_open_path=is_compatible_path,
            health=lambda: {"status": "ok", "source_health": dispenser.health.current.state.value},
        )
        servers.add(add_EntropyServiceServicer_to_server, servicer, SERVICE_NAME)
        await stack.enter_async_context(servers)
        stack.callback(dispenser.health.close)  # ends watches, which would hold up the drain
        stack.push_async_callback(end_task, asyncio.create_task(station.run()))
        await servers.serve_until_end()


async def end_task(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def list_warnings(settings: EntropydSettings, report: SiteReport | None, problem: str) -> tuple[str, ...]:
    """What a careful operator should know, shown at start and in the status."""
    warnings = []
    if problem:
        warnings.append(problem)
    if report is None and not settings.source.startswith("os"):
        warnings.append("unassessed: 0.1 bit per sample is credited; run `entropyd assess` at this site")
    if settings.state is None:
        warnings.append("no --state: signing key, receipts and seed packs end with this process")
    if settings.http_open:
        warnings.append("--http-open: the compatible HTTP routes answer anyone, without credentials")
    return tuple(warnings)
