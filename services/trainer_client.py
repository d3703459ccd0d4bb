"""Typed client of TrainerService. Methods raise the errors that the proto documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from autoresearch.trainer.v1 import trainer_pb2 as pb
from autoresearch.trainer.v1 import trainer_pb2_grpc as rpc

from services.client import ServiceClient
from services.security import ClientSecurity
from services.watching import resume_stream


class TrainerClient(ServiceClient):
    def __init__(self, target: str, *, security: ClientSecurity | None = None, timeout: float = 10.0) -> None:
        super().__init__(target, security=security, timeout=timeout)
        self._stub = rpc.TrainerServiceStub(self._channel)

    async def start(self, request: pb.StartExperimentRequest) -> pb.Experiment:
        """Starts an experiment, or returns the one that has this id and content."""
        return (await self._call(self._stub.StartExperiment, request, timeout=30.0)).experiment

    def watch(
        self, experiment_id: str, *, after_sequence: int = 0, timeout: float = 3600.0
    ) -> AsyncIterator[pb.WatchExperimentResponse]:
        """Every event once and in order, across broken links, until the experiment has ended."""

        def open_stream(after: int) -> AsyncIterator[pb.WatchExperimentResponse]:
            request = pb.WatchExperimentRequest(experiment_id=experiment_id, after_sequence=after)
            return self._stream(self._stub.WatchExperiment, request, timeout=timeout)

        return resume_stream(open_stream, after_sequence=after_sequence)

    async def cancel(self, experiment_id: str, reason: str) -> pb.Experiment:
        request = pb.CancelExperimentRequest(experiment_id=experiment_id, reason=reason)
        return (await self._call(self._stub.CancelExperiment, request, timeout=15.0)).experiment

    async def get(self, experiment_id: str) -> pb.Experiment:
        request = pb.GetExperimentRequest(experiment_id=experiment_id)
        return (await self._call(self._stub.GetExperiment, request)).experiment

    async def list_experiments(
        self, *, page_size: int = 50, page_token: str = "", labels: Mapping[str, str] | None = None
    ) -> pb.ListExperimentsResponse:
        request = pb.ListExperimentsRequest(page_size=page_size, page_token=page_token, labels=labels or {})
        return await self._call(self._stub.ListExperiments, request)

    def fetch_artifact(
        self, experiment_id: str, name: str, *, offset: int = 0, timeout: float = 600.0
    ) -> AsyncIterator[pb.FetchArtifactResponse]:
        request = pb.FetchArtifactRequest(experiment_id=experiment_id, name=name, offset=offset)
        return self._stream(self._stub.FetchArtifact, request, timeout=timeout)

    async def capabilities(
        self, *, wait_for_ready: bool = False, timeout: float | None = None
    ) -> pb.GetCapabilitiesResponse:
        request = pb.GetCapabilitiesRequest()
        return await self._call(
            self._stub.GetCapabilities, request, wait_for_ready=wait_for_ready, timeout=timeout or 60.0
        )

    async def template(self, preset: str = "") -> pb.GetTemplateResponse:
        return await self._call(self._stub.GetTemplate, pb.GetTemplateRequest(preset=preset), timeout=60.0)

    def prepare_data(
        self, dataset: pb.DatasetRequest, *, timeout: float = 24 * 3600.0
    ) -> AsyncIterator[pb.PrepareDataResponse]:
        """Progress, then one last message with the dataset. Safe to call again after a broken link."""
        return self._stream(self._stub.PrepareData, pb.PrepareDataRequest(dataset=dataset), timeout=timeout)

    async def sample(self, request: pb.SampleTextRequest, *, timeout: float = 120.0) -> str:
        return (await self._call(self._stub.SampleText, request, timeout=timeout)).text
