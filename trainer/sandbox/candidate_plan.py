"""The plan of a candidate process: which files it may see, in which environment, with which caps."""

from __future__ import annotations

import glob
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import trainer
from services.errors import ConfigurationError
from trainer.runs.device_memory_cap import visible_names
from trainer.sandbox.copies import find_copies, import_folders
from trainer.sandbox.plan import Limits, Plan, Recording
from trainer.sandbox.ranks import in_ranks

PACKAGE = Path(trainer.__file__).resolve().parent
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/opt/nvidia")
SYSTEM_FILES = (
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/nsswitch.conf",
    "/etc/passwd", "/etc/group", "/etc/alternatives", "/sys/devices/system", "/sys/fs/cgroup",
)  # fmt: skip
# What torch and the C library read there; bubblewrap mounts its own /proc and /dev instead.
LANDLOCK_FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/osrelease", "/proc/version", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
# What NVIDIA's driver reads there before it gives a process its device.
LANDLOCK_GPU_FILES = (
    "/proc/driver/nvidia", "/proc/driver/nvidia-uvm", "/proc/devices", "/proc/modules",
    "/proc/sys/vm/mmap_min_addr",
)  # fmt: skip
GPU_DEVICES = ("/dev/nvidia*", "/dev/nvidia-caps", "/dev/dri")
MASK = "masked"  # an empty file that nobody may read stands in for each that is hidden
# Names that may pass from the daemon's environment: none of them carries a secret.
PASSED_ON = (
    "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "NVIDIA_DRIVER_CAPABILITIES", "TZ",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST", "NVSHMEM_DISABLE_NVLS",
)  # fmt: skip
# How the devices of this machine may talk to each other: what an operator forbids is forbidden in here too.
PASSED_ON_PREFIX = "NCCL_"


@dataclass(frozen=True)
class CandidateFiles:
    """What is particular to one process: files to read, folders to write, files to hide."""

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    masked: tuple[str, ...] = ()


def candidate_plan(
    command: Iterable[str],
    files: CandidateFiles,
    *,
    tier: str,
    scratch: Path,
    environment: Mapping[str, str],
    limits: Limits,
    keep_fds: Iterable[int] = (),
    gpus: tuple[int, ...] = (),
    threads: int = 0,
    container: tuple[str, str] = ("", ""),
    recording: Recording | None = None,
    ranks: int = 1,
    scored: bool = False,
) -> Plan:
    """command is what the interpreter is given, in as many ranks. scratch is the working folder; it holds
    HOME, TMPDIR and caches and is the only place to write apart from files.write. A folder beside it, made
    here, is where the harness is imported from. container is (image, engine) for that tier."""
    package = make_import_folder(scratch)
    devices = ["/dev/null", "/dev/full"] if tier == "LANDLOCK" else []
    extra = list(LANDLOCK_FILES) if tier == "LANDLOCK" else []
    if gpus:
        devices += [path for pattern in GPU_DEVICES for path in sorted(glob.glob(pattern))]
        extra += ["/sys", *(LANDLOCK_GPU_FILES if tier == "LANDLOCK" else ())]
    read = [
        *SYSTEM,
        *SYSTEM_FILES,
        *extra,
        *interpreter_paths(),
        *harness_paths(),
        str(package),
        *map(str, files.read),
    ]
    return Plan(
        command=(sys.executable, "-P", "-B", *in_ranks(tuple(command), ranks, tuple(keep_fds))),
        environment=candidate_environment(
            {"PYTHONPATH": str(package), **environment}, scratch, tier, gpus, threads
        ),
        folder=str(scratch),
        tier=tier,
        read=tuple(path for path in read if os.path.lexists(path)),
        write=(str(scratch), *map(str, files.write)),
        masked=files.masked,
        mask=str(package / MASK),
        devices=tuple(devices),
        keep_fds=tuple(keep_fds),
        limits=limits,
        image=container[0],
        engine=container[1],
        recording=recording,
        loopback=ranks > 1,
        scored=scored,
    )


def candidate_environment(
    given: Mapping[str, str], scratch: Path, tier: str, gpus: tuple[int, ...], threads: int
) -> dict[str, str]:
    """An allow-list, so that no key of the daemon's can slip through."""
    names = os.environ  # noqa: TID251 - the environment of a child is made here
    tmp = "/tmp" if tier in ("BUBBLEWRAP", "CONTAINER") else str(scratch)
    made = {name: names[name] for name in names if name in PASSED_ON or name.startswith(PASSED_ON_PREFIX)}
    made |= {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
        "HOME": str(scratch),
        "TMPDIR": tmp,
        "USER": "candidate",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "compile-cache"),
        "TRITON_CACHE_DIR": str(scratch / "compile-cache" / "triton"),
        "CUDA_CACHE_PATH": str(scratch / "compile-cache" / "cuda"),
        "CUDA_VISIBLE_DEVICES": ",".join(visible_names(gpus)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order in which the driver counts them
    }
    if tier == "LANDLOCK":
        # Compilers ask access(), which knows no capabilities: below a folder that the run's user may not
        # enter, only a relative name passes, and they try TMP after TMPDIR.
        made["TMP"] = "."
    if threads:
        made["OMP_NUM_THREADS"] = str(threads)
    if os.name == "nt" and "SYSTEMROOT" in names:
        made["SYSTEMROOT"] = names["SYSTEMROOT"]
    return made | dict(given)


def trusted_environment(folder: Path, threads: int) -> dict[str, str]:
    """For our own programs that work on a candidate's behalf: the same allow-list, this package importable,
    and the system's programs (bwrap) in reach."""
    made = candidate_environment({"PYTHONPATH": str(PACKAGE.parent)}, folder, "NONE", (), threads)
    return made | {"PATH": os.defpath + os.pathsep + made["PATH"]}


def interpreter_paths() -> list[str]:
    """The Python installation and its packages."""
    found = [sys.prefix, sys.base_prefix]
    found += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    executable = sys.executable
    found.append(os.path.dirname(os.path.realpath(executable)))
    unique = sorted({os.path.abspath(path) for path in found})
    return [p for p in unique if not any(p != o and p.startswith(o + "/") for o in unique)]


def harness_paths() -> list[str]:
    """The part of this package that a candidate imports, and no more of a source checkout."""
    return [str(PACKAGE / "__init__.py"), str(PACKAGE / "harness")]


def refuse_shown(flag: str, folder: Path) -> None:
    """Raises ConfigurationError for a folder that lies where every candidate may read: validation rows, or
    what the evaluator is about to ask, would be shown to it."""
    place = os.path.realpath(folder)
    for shown in sorted({os.path.realpath(one) for one in (*SYSTEM, *interpreter_paths(), *harness_paths())}):
        if place == shown or place.startswith(shown + "/"):
            raise ConfigurationError(
                f"{flag}: {place} lies in {shown}, which every candidate may read; choose another folder"
            )


def make_import_folder(scratch: Path) -> Path:
    """A folder with nothing in it but links to the harness: Python lists the folders that it imports from,
    and the checkout's own is not for a candidate to list."""
    folder = scratch.with_name(scratch.name + ".package")
    target = folder / "trainer"
    if not target.exists():
        target.mkdir(parents=True)
        for name in ("__init__.py", "harness"):
            (target / name).symlink_to(PACKAGE / name)
        (folder / MASK).touch(mode=0o000)
    return folder


def mask_paths(origin_files: Iterable[str], roots: Iterable[str] | None = None) -> tuple[str, ...]:
    """The files that validation text was drawn from, by their real paths, and all in which the same can be
    read: compiled forms, and what find_copies finds below the roots (what every candidate may read). Takes a
    second the first time that a process asks for it."""
    searched = (*SYSTEM, *interpreter_paths()) if roots is None else roots
    return _mask_paths(tuple(origin_files), tuple(searched))


@lru_cache(maxsize=16)
def _mask_paths(origin_files: tuple[str, ...], roots: tuple[str, ...]) -> tuple[str, ...]:
    origins = [name for name in origin_files if os.path.isfile(name)]
    copies = find_copies(origins, roots) if origins else []
    found: dict[str, None] = {}
    for name in (*origins, *copies):
        for path in dict.fromkeys((Path(name), Path(os.path.realpath(name)))):
            found |= dict.fromkeys(os.path.realpath(one) for one in (str(path), *_compiled_forms(path)))
    return tuple(found)


def _compiled_forms(path: Path) -> list[str]:
    """The whole folder of them, which is one rule instead of one for each neighbour; but not where modules
    stand that training imports: those would be compiled anew at each start."""
    folder = path.parent / "__pycache__"
    if str(path.parent) in import_folders() or str(path.parent) in sys.path:
        return glob.glob(glob.escape(str(folder / path.stem)) + ".*.pyc")
    return [str(folder)] if folder.is_dir() else []
