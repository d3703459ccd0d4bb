"""git for the lab, through GitPython: every failure is raised, nothing of the user's own set-up is used."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.errors import FailedPreconditionError, ServiceError, UnsupportedError

if TYPE_CHECKING:
    from git import Repo

IDENTITY_NAME = "autoresearch lab"
IDENTITY_EMAIL = "lab@autoresearch.invalid"
# What a person has set for their own projects has no business here: hooks, signatures, converted line ends,
# filters, programs that show differences.
SETTINGS = {
    "user.name": IDENTITY_NAME,
    "user.email": IDENTITY_EMAIL,
    "commit.gpgSign": "false",
    "merge.verifySignatures": "false",
    "core.hooksPath": "/dev/null",
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.eol": "lf",
    "core.attributesFile": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
}


_OWNED = re.compile(r"dubious ownership in repository at '(.+)'")


def git_command(*arguments: str) -> list[str]:
    """The words of a call of git that heeds nobody's set-up but ours, also in a lab that lost it."""
    ours = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
    return ["git", *ours, *arguments]


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
        # Other formats, which newer versions of git may be set to, are not known to GitPython.
        formats = ("-c", "init.defaultObjectFormat=sha1", "-c", "init.defaultRefFormat=files")
        git.Git(path).execute(
            git_command(*formats, "init", "--quiet", "--template=", f"--initial-branch={branch}")
        )
        repository = git.Repo(path)
        with repository.config_writer() as config:
            for name, value in SETTINGS.items():
                section, _, key = name.partition(".")
                config.set_value(section, key, value)
    return repository  # type: ignore[no-any-return]


def has_commit(repository: Repo) -> bool:
    """Whether anything was ever committed. Raises FailedPreconditionError where git cannot say."""
    git = _import_git()
    with git_errors(f"opening the repository {repository.working_dir}"):
        try:
            repository.git.execute(git_command("rev-parse", "--quiet", "--verify", "HEAD^{commit}"))
        except git.GitCommandError as error:
            if error.status == 1:
                return False
            raise
    return True


@contextlib.contextmanager
def git_errors(doing: str) -> Iterator[None]:
    """Turns every failure of git into FailedPreconditionError (LAB_FAILED) that says what was being done."""
    git = _import_git()
    try:
        yield
    except ServiceError:
        raise
    except git.GitCommandError as error:
        found = _OWNED.search(str(error.stderr))
        why = _others(found[1]) if found else _last_line(error)
        raise FailedPreconditionError(f"{doing}: {why}", reason="LAB_FAILED") from error
    except (git.GitError, ValueError, OSError) as error:
        raise FailedPreconditionError(f"{doing}: {error}", reason="LAB_FAILED") from error


def _others(path: str) -> str:
    return (
        f"{path} belongs to another user, and git does not work in it: give it to this one (chown -R), or, "
        f"if you trust its owner, `git config --global --add safe.directory {shlex.quote(path)}`"
    )


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
