"""Settings of trainerd."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.settings import DaemonSettings


class TrainerSettings(DaemonSettings):
    """Flags and AUTORESEARCH_TRAINERD_* names."""

    model_config = SettingsConfigDict(env_prefix="AUTORESEARCH_TRAINERD_")
    daemon_name: ClassVar[str] = "trainerd"

    listen: str = "127.0.0.1:50053"
    """gRPC address HOST:PORT; port 0 picks a free one and prints it."""
    http_listen: str = "127.0.0.1:9464"
    """Address of /metrics and /healthz; port 0 picks a free one and prints it."""
    executor: Literal["local", "scripted"] = "local"
    """Who runs the experiments: local (processes here) or scripted (invented scores, for demos)."""
    data: Path = Path("data")
    """Folder of prepared data sets."""
    state: Path = Path(".trainerd")
    """Folder of the journal and of the runs."""
    sandbox: Literal["auto", "container", "bubblewrap", "landlock", "none"] = "auto"
    """The sandbox tier; auto takes the strongest that works here, containers apart."""
    container_image: str = "debian:bookworm-slim"
    """Image of the container tier; it only has to exist, this machine's files are bound into it."""
    container_engine: str = ""
    """Address of the Docker engine (unix:///…) for the container tier; empty takes the client's default."""
    unsafe: bool = False
    """Run code that a model wrote even where no sandbox tier works."""
    slots: int = Field(default=1, ge=1, le=64)
    """Experiments at once on a machine without a GPU; with GPUs there is one for each."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of one experiment; 0 takes all cores, shared among the slots."""
    orphan_seconds: float = Field(default=60.0, ge=0.0)
    """Time that a training process goes on without a daemon, for a restarted one to adopt it; 0 ends it with
    the daemon, and so does --exit-with-parent when the daemon is ended by a signal."""
    queue_capacity: int = Field(default=64, ge=1)
    """Experiments that may wait."""
    memory_limit_gib: float = Field(default=0.0, ge=0.0)
    """Host memory that one experiment may use; 0 takes three quarters of the machine's."""
    device_memory_limit_gib: float = Field(default=0.0, ge=0.0)
    """Memory that may be in use on a GPU that one experiment has; 0 takes all of it."""
    scratch_limit_gib: float = Field(default=8.0, gt=0.0)
    """Disk that one experiment may fill."""
    process_limit: int = Field(default=512, ge=8)
    """Processes and threads that one experiment may have."""
    output_limit_mib: float = Field(default=16.0, gt=0.0)
    """Bytes that one experiment may print."""
    setup_limit_seconds: float = Field(default=0.0, ge=0.0)
    """Time before training may begin; 0 means 120 on a CPU and 600 on a GPU, which compiles."""
    evaluation_limit_seconds: float = Field(default=1800.0, gt=0.0)
    """Time that the evaluation of one experiment may take."""
    scripted_seconds: float = Field(default=0.3, ge=0.0)
    """Duration of one run of the scripted executor."""
