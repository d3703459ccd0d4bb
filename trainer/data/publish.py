"""Making a finished folder visible at once, durably, and clearing up after killed runs."""

import os
import shutil
from pathlib import Path

from trainer.data.dataset import Dataset, open_dataset
from trainer.data.errors import DatasetCorruptError, DatasetNotFoundError


def publish(partial: Path, target: Path, request_hash: str) -> Dataset:
    """Renames the finished folder into place; when another process was first, takes that one's."""
    sync_folder(partial)
    if target.exists():
        try:
            existing = open_dataset(target)
            if existing.manifest.request_hash == request_hash:
                return existing
        except (DatasetNotFoundError, DatasetCorruptError):
            pass
        shutil.rmtree(target)
    os.replace(partial, target)
    sync_folder(target.parent)
    return open_dataset(target)


def remove_abandoned(data_folder: Path, dataset_id: str) -> None:
    """Deletes partial folders of processes that no longer live."""
    import psutil

    for folder in data_folder.glob(f".partial-{dataset_id}-*"):
        owner = folder.name.rsplit("-", 1)[1]
        if owner.isdigit() and int(owner) != os.getpid() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def write_synced(path: Path, text: str) -> None:
    """Writes a file and waits until it is on the disk."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Makes names in a folder durable where the platform can (Windows cannot open a folder)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
