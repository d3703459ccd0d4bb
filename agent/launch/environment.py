"""The environment of child processes: provider keys reach agentd and nobody else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_KEY_NAMES = re.compile(
    r"(_API_KEY|_AUTH_TOKEN|_SECRET|_SECRET_KEY|_ACCESS_KEY|_ACCESS_KEY_ID|_SESSION_TOKEN)$"
    r"|^(ANTHROPIC|OPENAI|GEMINI|GOOGLE|AZURE|AWS)_",
    re.IGNORECASE,
)
# Set in hooks, aliases and `git rebase --exec`: a lab's git would work in that repository instead.
_GIT_PLACES = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
    }
)


def forget_other_repository() -> None:
    """Takes the repository of whoever called this process out of its environment; for `main` alone."""
    for name in _GIT_PLACES:
        os.environ.pop(name, None)  # noqa: TID251 - inherited by every call of git, GitPython's as well


def child_environment(*, with_keys: bool, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """A copy of this process's environment without its git repository, and without provider keys unless
    `with_keys`."""
    source = os.environ if environment is None else environment  # noqa: TID251 - made for a child process
    kept = {
        name: value
        for name, value in source.items()
        if name not in _GIT_PLACES and (with_keys or not _KEY_NAMES.search(name))
    }
    return kept | {"PYTHONUNBUFFERED": "1"}


def key_names(environment: Mapping[str, str] | None = None) -> list[str]:
    """Names of provider keys that are set, for `doctor`; never their values."""
    source = os.environ if environment is None else environment  # noqa: TID251 - names only, for doctor
    known = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
    return [name for name in known if source.get(name)]
