"""Which experiment may start next, and on which devices. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.executor import DeviceInfo
from trainer.experiment import ExperimentRequest


def next_lease(
    queue: Sequence[ExperimentRequest], free: Sequence[DeviceInfo]
) -> tuple[int, tuple[DeviceInfo, ...]] | None:
    """The place in the queue of the oldest experiment that can have its devices now, and these devices.

    They are of one class, the one asked for where the request names one. An experiment that has to wait
    keeps the devices back that it could use: what came later does not overtake it on them.
    """
    available = list(free)
    for place, request in enumerate(queue):
        asked = request.device_class
        classes = [asked] if asked else list(dict.fromkeys(device.device_class for device in available))
        for name in classes:
            fitting = [device for device in available if device.device_class == name]
            if len(fitting) >= request.device_count:
                return place, tuple(fitting[: request.device_count])
        available = [device for device in available if asked and device.device_class != asked]
    return None
