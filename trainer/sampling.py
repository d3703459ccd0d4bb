"""Text from a kept checkpoint. (The candidate answers logits in its sandbox; tokens are drawn here.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.errors import UnsupportedError
from trainer.data.dataset import Dataset
from trainer.executor import Job, SampleRequest

if TYPE_CHECKING:
    from trainer.local_run import RunSettings


async def sample_from(job: Job, dataset: Dataset, settings: RunSettings, request: SampleRequest) -> str:
    raise UnsupportedError("sampling comes next")
