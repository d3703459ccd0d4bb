"""git for the lab, through GitPython: every failure is raised, nothing of the user's own set-up is used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.errors import FailedPreconditionError, ServiceError, UnsupportedError

if TYPE_CHECKING:
    from git import Repo

IDENTITY_NAME = "autoresearch lab"
IDENTITY_EMAIL = "lab@autoresearch.invalid"


def open_repository(path: Path) -> Repo | None:
    """The repository whose top folder is exactly `path`; None where there is none."""
    git = _import_git()
    try:
        repository = git.Repo(path, search_parent_directories=False)
    except (git.InvalidGitRepositoryError, git.NoSuchPathError):
        return None
    return repository  # type: ignore[no-any-return]


def make_repository(path: Path, branch: str) -> Repo:
    """A new repository with the lab's own identity, whose first branch is `branch`."""
    git = _import_git()
    with git_errors("making the lab's repository"):
        repository = git.Repo.init(path, initial_branch=branch)
        with repository.config_writer() as config:
            config.set_value("user", "name", IDENTITY_NAME)
            config.set_value("user", "email", IDENTITY_EMAIL)
            config.set_value("commit", "gpgsign", "false")
            config.set_value("core", "autocrlf", "false")
            # Hooks of the user's other projects have no business here.
            config.set_value("core", "hooksPath", "/dev/null")
            config.set_value("gc", "auto", "0")
    return repository  # type: ignore[no-any-return]


@contextlib.contextmanager
def git_errors(doing: str) -> Iterator[None]:
    """Turns every failure of git into FailedPreconditionError (LAB_FAILED) that says what was being done."""
    git = _import_git()
    try:
        yield
    except ServiceError:
        raise
    except git.GitCommandError as error:
        raise FailedPreconditionError(f"{doing}: {_last_line(error)}", reason="LAB_FAILED") from error
    except (git.GitError, ValueError, OSError) as error:
        raise FailedPreconditionError(f"{doing}: {error}", reason="LAB_FAILED") from error


def _last_line(error: Any) -> str:
    text = str(error.stderr or error.stdout or error).strip().removeprefix("stderr: ").strip("' \n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    wanted = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (wanted or lines or [f"git ended with status {error.status}"])[-1]


def _import_git() -> Any:
    try:
        import git
    except ImportError as error:  # GitPython raises it as well where the git program is missing
        why = str(error).strip().partition("\n")[0]  # GitPython adds a page of advice
        raise UnsupportedError(
            f"git cannot be used ({why.rstrip('.')}): install git, and GitPython where it is missing",
            reason="NOT_INSTALLED",
        ) from error
    return git
