"""TrainerService: reads messages, calls the use cases, writes messages. Errors are raised, never answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from services.errors import InvalidArgumentError
from services.positions import is_position
from services.version import installed_version
from trainer import datasets, wire
from trainer.data.dataset import Dataset
from trainer.executor import Capabilities, Executor, SampleRequest
from trainer.experiment import Budget
from trainer.experiments import Experiments
from trainer.presets import PRESETS, Preset, choose_preset
from trainer.runs.artifacts import read_artifact
from trainer.templates import known_preset, template_files

SERVICE_NAME = "autoresearch.trainer.v1.TrainerService"
Context = grpc.aio.ServicerContext[Any, Any]


class TrainerServicer(rpc.TrainerServiceServicer):
    def __init__(
        self, experiments: Experiments, executor: Executor, data_folder: Path, *, queue_capacity: int
    ) -> None:
        self._experiments = experiments
        self._executor = executor
        self._data_folder = data_folder
        self._queue_capacity = queue_capacity

    async def StartExperiment(
        self, request: pb.StartExperimentRequest, context: Context
    ) -> pb.StartExperimentResponse:
        preset = await self._preset(request.preset)
        values, content_hash = wire.read_request(request, preset)
        experiment = await self._experiments.start(values, request.train_source, content_hash)
        return pb.StartExperimentResponse(experiment=wire.write_experiment(experiment))

    async def WatchExperiment(
        self, request: pb.WatchExperimentRequest, context: Context
    ) -> AsyncIterator[pb.WatchExperimentResponse]:
        async for event in self._experiments.watch(request.experiment_id, request.after_sequence):
            yield wire.write_event(event)

    async def CancelExperiment(
        self, request: pb.CancelExperimentRequest, context: Context
    ) -> pb.CancelExperimentResponse:
        experiment = await self._experiments.cancel(request.experiment_id, request.reason[:200])
        return pb.CancelExperimentResponse(experiment=wire.write_experiment(experiment))

    async def GetExperiment(
        self, request: pb.GetExperimentRequest, context: Context
    ) -> pb.GetExperimentResponse:
        experiment = self._experiments.get(request.experiment_id)
        return pb.GetExperimentResponse(experiment=wire.write_experiment(experiment))

    async def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: Context
    ) -> pb.ListExperimentsResponse:
        size = request.page_size or 50
        if not 1 <= size <= 500:
            raise InvalidArgumentError(f"page_size must be 1..500, not {size}", field="page_size")
        token = request.page_token
        if token and not is_position(token):
            raise InvalidArgumentError(
                f"page_token {token!r} was not made by this service",
                field="page_token",
                reason="INVALID_PAGE_TOKEN",
            )
        found, following = self._experiments.page(int(token or 0), size, dict(request.labels))
        return pb.ListExperimentsResponse(
            experiments=[wire.write_experiment(experiment) for experiment in found],
            next_page_token=str(following) if following else "",
        )

    async def FetchArtifact(
        self, request: pb.FetchArtifactRequest, context: Context
    ) -> AsyncIterator[pb.FetchArtifactResponse]:
        experiment = self._experiments.get(request.experiment_id)
        folder = self._experiments.folder(request.experiment_id)
        chunks = read_artifact(experiment, folder, request.name, request.offset)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield pb.FetchArtifactResponse(
                data=chunk.data, offset=chunk.offset, total_byte_count=chunk.total, sha256=chunk.sha256
            )

    async def GetCapabilities(
        self, request: pb.GetCapabilitiesRequest, context: Context
    ) -> pb.GetCapabilitiesResponse:
        capabilities = await self._executor.capabilities()
        first = capabilities.devices[0]
        leased = self._experiments.leased
        return pb.GetCapabilitiesResponse(
            devices=[
                pb.Device(
                    name=device.name,
                    kind=device.kind,
                    memory_bytes=device.memory_bytes,
                    device_class=device.device_class,
                    attention=device.attention,
                    leased=device.index in leased,
                )
                for device in capabilities.devices
            ],
            default_device_class=first.device_class,
            default_preset=_default_preset(capabilities),
            presets=list(PRESETS),
            sandbox_tiers=[wire.write_tier(tier) for tier in capabilities.tiers],
            sandbox_tier=wire.write_tier(capabilities.tier),
            executor=self._executor.name,
            queue_capacity=self._queue_capacity,
            warnings=capabilities.warnings,
            version=installed_version(),
            torch_version=capabilities.torch_version,
        )

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: Context) -> pb.GetTemplateResponse:
        preset = await self._preset(request.preset)
        budget = Budget(preset.budget_kind, preset.budget_amount)
        return pb.GetTemplateResponse(
            files=template_files(preset),
            preset=preset.name,
            budget=wire.write_budget(budget),
            dataset=pb.DatasetRequest(
                source=preset.source,
                vocabulary_size=preset.vocab_size,
                context_length=preset.context_length,
                preset=preset.name,
            ),
        )

    async def PrepareData(
        self, request: pb.PrepareDataRequest, context: Context
    ) -> AsyncIterator[pb.PrepareDataResponse]:
        asked = request.dataset
        wanted = datasets.Wanted(
            source=asked.source,
            vocabulary_size=asked.vocabulary_size,
            context_length=asked.context_length,
            num_shards=asked.num_shards,
            download_workers=asked.download_workers,
            preset=await self._preset(asked.preset),
        )
        if not self._executor.needs_data:
            yield pb.PrepareDataResponse(stage="ready", done=1, total=1, dataset=_no_dataset(wanted))
            return
        async for progress in datasets.prepare_data(self._data_folder, wanted):
            yield pb.PrepareDataResponse(
                stage=progress.stage,
                done=progress.done,
                total=progress.total,
                unit=progress.unit,
                dataset=None if progress.dataset is None else _write_dataset(progress.dataset),
            )

    async def SampleText(self, request: pb.SampleTextRequest, context: Context) -> pb.SampleTextResponse:
        count = request.max_tokens or 100
        if not 1 <= count <= 2048:
            raise InvalidArgumentError(f"max_tokens must be 1..2048, not {count}", field="max_tokens")
        if not 0 <= request.temperature <= 10:
            raise InvalidArgumentError(
                f"temperature must be 0..10, not {request.temperature}", field="temperature"
            )
        job = self._experiments.job(request.experiment_id)
        wanted = SampleRequest(request.prompt, count, request.temperature, request.seed)
        return pb.SampleTextResponse(text=await self._executor.sample(job, wanted))

    async def _preset(self, name: str) -> Preset:
        return known_preset(name or _default_preset(await self._executor.capabilities()))


def _default_preset(capabilities: Capabilities) -> str:
    first = capabilities.devices[0]
    return choose_preset(first.name, first.memory_bytes if first.kind == "cuda" else 0)


def _no_dataset(wanted: datasets.Wanted) -> pb.Dataset:
    preset = wanted.preset
    return pb.Dataset(
        data_hash="scripted",
        source=wanted.source or preset.source,
        vocabulary_size=wanted.vocabulary_size or preset.vocab_size,
        context_length=wanted.context_length or preset.context_length,
    )


def _write_dataset(dataset: Dataset) -> pb.Dataset:
    manifest = dataset.manifest
    return pb.Dataset(
        data_hash=manifest.data_hash,
        source=manifest.source,
        path=str(dataset.folder),
        vocabulary_size=manifest.vocab_size,
        context_length=manifest.context_length,
        train_tokens=manifest.train_tokens,
        validation_tokens=manifest.validation_tokens,
        tokenizer_hash=manifest.tokenizer_sha256,
    )
