"""Which sandbox tiers work on this machine, found out by trying each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from services.errors import ConfigurationError
from trainer.experiment import Tier
from trainer.sandbox.bubblewrap import PROGRAM
from trainer.sandbox.candidate_plan import CandidateFiles, candidate_plan
from trainer.sandbox.launch import supervisor_command, supervisor_environment
from trainer.sandbox.plan import Limits

TRY_SECONDS = 30.0
_PROBE = "import numpy; print('alive')"


@dataclass(frozen=True)
class TierChoice:
    """usable is strongest first and ends with NONE."""

    usable: tuple[Tier, ...]
    tier: Tier
    warnings: tuple[str, ...] = ()


def choose_tier(wanted: str, container: tuple[str, str] = ("", "")) -> TierChoice:
    """The tier for a setting; container is (image, engine) and tried only when asked for.

    Raises ConfigurationError when it was asked for by name and does not work."""
    tried: tuple[Tier, ...] = (Tier.BUBBLEWRAP, Tier.LANDLOCK)
    if wanted == "container":
        tried = (Tier.CONTAINER, *tried)
    problems = {tier: _problem(tier, container) for tier in tried}
    usable = (*(tier for tier, problem in problems.items() if not problem), Tier.NONE)
    if wanted == "auto":
        tier = usable[0]
        if tier is not Tier.NONE:
            return TierChoice(usable, tier)
        why = "; ".join(f"{name.lower()}: {problem}" for name, problem in problems.items())
        return TierChoice(usable, tier, (f"no sandbox tier works here ({why})",))
    tier = Tier(wanted.upper())
    if tier not in usable:
        problem = problems.get(tier, "not available in this version")
        raise ConfigurationError(f"--sandbox: {wanted} does not work here: {problem}")
    warnings = ("sandbox none: candidates see and may do all that this user can",) if wanted == "none" else ()
    return TierChoice(usable, tier, warnings)


def _problem(tier: Tier, container: tuple[str, str]) -> str:
    """Why a tier does not work here; empty when it does."""
    if sys.platform != "linux":
        return "needs Linux"
    path = supervisor_environment()["PATH"]
    if tier is Tier.BUBBLEWRAP and shutil.which(PROGRAM, path=path) is None:
        return f"the program {PROGRAM} is not installed in {path}"
    if tier is Tier.CONTAINER and shutil.which("docker") is None:
        return "the program docker is not installed"
    if tier is Tier.LANDLOCK:
        from trainer.sandbox.landlock import landlock_version

        if landlock_version() < 1:
            return "the kernel has no Landlock"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        (folder / "scratch").mkdir()
        plan = candidate_plan(
            ["-c", _PROBE],
            CandidateFiles((), ()),
            tier=tier.value,
            scratch=folder / "scratch",
            environment={},
            limits=Limits(wall_seconds=TRY_SECONDS),
            container=container,
        )
        status = os.open(os.devnull, os.O_WRONLY)
        try:
            done = subprocess.run(
                supervisor_command(plan, folder / "plan.json", status),
                env=supervisor_environment(),
                pass_fds=(status,),
                capture_output=True,
                timeout=TRY_SECONDS + 10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            os.close(status)
    if b"alive" in done.stdout:
        return ""
    return (
        done.stderr.decode("utf-8", "replace").strip().splitlines()[-1][:200] if done.stderr else "no answer"
    )
