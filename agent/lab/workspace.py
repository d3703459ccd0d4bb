"""The lab folder: a git repository of its own, with one worktree for each proposal under way.

The user's work tree is only ever moved forward, along the branch of the session, and only when it has no
changes of its own.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.lab.git_repository import (
    IDENTITY_EMAIL,
    IDENTITY_NAME,
    git_command,
    git_errors,
    has_commit,
    make_repository,
    open_repository,
)
from services.errors import FailedPreconditionError, InvalidArgumentError

if TYPE_CHECKING:
    from git import Repo

SOURCE_NAME = "train.py"
STATE_NAME = ".autoresearch"
IGNORED = ("results.tsv", "progress.png", "best/", f"{STATE_NAME}/", "__pycache__/")
TRAILER = "Autoresearch-Proposal"
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


def check_tag(tag: str) -> str:
    """The tag, "lab" for an empty one. Raises InvalidArgumentError (INVALID_TAG)."""
    tag = tag or "lab"
    if not _TAG.fullmatch(tag):
        raise InvalidArgumentError(
            f"tag: {tag!r} must be 1 to 32 letters, digits, - or _, and begin with a letter or digit",
            field="tag",
            reason="INVALID_TAG",
        )
    return tag


class Workspace:
    """The repository of one lab, on the branch `autoresearch/<tag>`.

    Methods call git and block for some milliseconds. They raise FailedPreconditionError (LAB_FAILED) when
    git fails.
    """

    def __init__(self, lab: Path, tag: str, repository: Repo) -> None:
        self.lab = lab
        self.branch = f"autoresearch/{check_tag(tag)}"
        self._repository = repository

    @property
    def state(self) -> Path:
        """Folder of the ledger, the worktrees, logs, addresses and the lock."""
        return self.lab / STATE_NAME

    def worktree(self, number: int) -> Path:
        return self.state / "worktrees" / f"p{number:04d}"

    def close(self) -> None:
        self._repository.close()

    # The branch

    def tip(self) -> str:
        """The commit that the branch points at."""
        with git_errors(f"reading branch {self.branch}"):
            return str(self._git("rev-parse", f"refs/heads/{self.branch}^{{commit}}"))

    def template_commit(self) -> str:
        """The lab's first commit."""
        with git_errors("reading the lab's first commit"):
            return str(self._git("rev-list", "--max-parents=0", f"refs/heads/{self.branch}")).split()[-1]

    def source_at(self, commit: str) -> str:
        """The text of train.py in a commit."""
        with git_errors(f"reading {SOURCE_NAME} of commit {commit[:12]}"):
            data: bytes = self._repository.git.execute(
                git_command("show", f"{commit}:{SOURCE_NAME}"),
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
            return data.decode()

    def changes(self) -> list[str]:
        """Paths in the user's work tree with changes that are not committed; empty when it is clean."""
        with git_errors("reading the state of the work tree"):
            lines = str(self._git("status", "--porcelain", "--untracked-files=no")).splitlines()
        return [line[3:] for line in lines if line]

    def checked_out(self) -> str:
        """Name of the branch in the user's work tree; empty when none is."""
        with git_errors("reading the branch of the work tree"):
            return str(self._git("branch", "--show-current"))

    def show_branch(self) -> None:
        """Puts the session's branch into the work tree, made from the template commit if it is new.

        Raises FailedPreconditionError (LAB_DIRTY) rather than touch changes that are not committed.
        """
        with git_errors(f"switching to branch {self.branch}"):
            known = self._git("branch", "--list", self.branch, "--format=%(refname:short)")
            if self.checked_out() == self.branch and known:
                return
            self.refuse_dirty()
            if known:
                self._git("switch", "--quiet", self.branch)
                return
            root = str(self._git("rev-list", "--max-parents=0", "HEAD")).split()[-1]
            self._git("switch", "--quiet", "--create", self.branch, root)

    def refuse_dirty(self) -> None:
        """Raises FailedPreconditionError (LAB_DIRTY) when the user has changes that are not committed."""
        changed = self.changes()
        if changed:
            raise FailedPreconditionError(
                f"{', '.join(changed[:5])} in {self.lab} has changes that are not committed: commit them "
                f"with `git -C {shlex.quote(str(self.lab))} commit -am message` (they become part of the "
                "incumbent) or undo them",
                reason="LAB_DIRTY",
            )

    # Proposals

    def open_worktree(self, number: int, parent: str, source: str) -> Path:
        """A detached work tree at `parent` with `source` as its train.py; an old one is made anew."""
        path = self.worktree(number)
        with git_errors(f"making the worktree of proposal {number}"):
            self._drop(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._git("worktree", "add", "--quiet", "--detach", str(path), parent)
            (path / SOURCE_NAME).write_text(source, encoding="utf-8", newline="")
        return path

    def close_worktree(self, number: int) -> None:
        """Removes the work tree of a proposal; its commit, if it was kept, stays on the branch."""
        with git_errors(f"removing the worktree of proposal {number}"):
            self._drop(self.worktree(number))

    def close_all_worktrees(self) -> None:
        with git_errors("removing worktrees"):
            for path in sorted((self.state / "worktrees").glob("*")):
                self._drop(path)
            self._git("worktree", "prune")

    def commit(self, number: int, parent: str, source: str, message: str, seconds: float) -> str:
        """Commits `source` on top of `parent` and moves the branch and the user's work tree to it.

        The same arguments always make the same commit (`seconds` since 1970 is its date), and a branch that
        has it already is left alone: a step that was cut short can be taken again. Raises
        FailedPreconditionError: LAB_DIRTY when the user's own changes are in the way, LAB_MOVED when the
        branch has gone elsewhere meanwhile.
        """
        made = self._make_commit(number, parent, source, message, seconds)
        tip = self.tip()
        with git_errors(f"moving {self.branch} to proposal {number}"):
            if not self._is_ancestor(made, tip):
                if not self._is_ancestor(tip, made):
                    raise FailedPreconditionError(
                        f"{self.branch} was moved to {tip[:12]} while proposal {number} was tried on "
                        f"{parent[:12]}; its commit is {made[:12]}: merge it by hand or reset the branch",
                        reason="LAB_MOVED",
                    )
                self._move_to(made)
        return made

    def _make_commit(self, number: int, parent: str, source: str, message: str, seconds: float) -> str:
        path = self.worktree(number)
        if not (path / SOURCE_NAME).is_file():
            self.open_worktree(number, parent, source)
        with git_errors(f"committing proposal {number}"):
            tree = self._repository.git.custom_environment
            stamp = f"@{int(seconds)} +0000"
            with tree(
                GIT_AUTHOR_NAME=IDENTITY_NAME,
                GIT_AUTHOR_EMAIL=IDENTITY_EMAIL,
                GIT_AUTHOR_DATE=stamp,
                GIT_COMMITTER_NAME=IDENTITY_NAME,
                GIT_COMMITTER_EMAIL=IDENTITY_EMAIL,
                GIT_COMMITTER_DATE=stamp,
            ):
                inside = ["-C", str(path)]
                self._raw(*inside, "checkout", "--quiet", "--force", "--detach", parent)
                (path / SOURCE_NAME).write_text(source, encoding="utf-8", newline="")
                self._raw(*inside, "add", "--", SOURCE_NAME)
                self._raw(*inside, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", message)
                return self._raw(*inside, "rev-parse", "HEAD")

    def _move_to(self, commit: str) -> None:
        if self.checked_out() != self.branch:
            self._git("update-ref", f"refs/heads/{self.branch}", commit)
            return
        self.refuse_dirty()
        self._git("merge", "--quiet", "--ff-only", commit)

    def _is_ancestor(self, first: str, second: str) -> bool:
        # rev-list gives up early where a clock that went back has left later commits with earlier dates.
        return self._git("merge-base", first, second) == first

    def _drop(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            raise OSError(f"{path} cannot be removed")
        self._git("worktree", "prune")

    def _git(self, command: str, *arguments: str) -> str:
        return self._raw(command, *arguments)

    def _raw(self, *arguments: str) -> str:
        return str(self._repository.git.execute(git_command(*arguments)))


def make_lab(lab: Path, tag: str, files: Mapping[str, str], preset: str) -> Workspace:
    """Makes the lab from the template's files: one commit on the branch of `tag`.

    Raises FailedPreconditionError (LAB_NOT_OURS) when the folder holds something else.
    """
    if _holds_anything(lab) and not _is_half_made(lab):
        raise _not_ours(lab)
    lab.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(lab, tag, make_repository(lab, f"autoresearch/{check_tag(tag)}"))
    texts = dict(files)
    texts[".gitignore"] = _with_ignored(texts.get(".gitignore", ""))
    with git_errors("making the lab"):
        for name, text in sorted(texts.items()):
            target = (lab / name).resolve()
            if not target.is_relative_to(lab.resolve()):
                raise FailedPreconditionError(f"the template names a file outside the lab: {name!r}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="")
        workspace._git("add", "--force", "--", *sorted(texts))
        workspace._git("commit", "--quiet", "--no-verify", "-m", f"Template, preset {preset}")
    return workspace


def open_lab(lab: Path, tag: str) -> Workspace | None:
    """The workspace of an existing lab, None where the folder is missing or empty.

    Raises FailedPreconditionError (LAB_NOT_OURS) for a folder that was not made by `make_lab`.
    """
    if not _holds_anything(lab) or _is_half_made(lab):
        return None
    repository = open_repository(lab)
    if repository is None or not _is_ours(repository) or not has_commit(repository):
        raise _not_ours(lab)
    return Workspace(lab, tag, repository)


def _holds_anything(lab: Path) -> bool:
    if lab.exists() and not lab.is_dir():
        raise _not_ours(lab)
    return lab.exists() and any(entry.name != STATE_NAME for entry in lab.iterdir())


def _is_half_made(lab: Path) -> bool:
    """Whether a crash ended `make_lab` before its commit."""
    repository = open_repository(lab)
    if repository is None or has_commit(repository):
        return False
    bare = all(entry.name in (".git", STATE_NAME) for entry in lab.iterdir())
    return bare or _is_ours(repository)


def _is_ours(repository: Repo) -> bool:
    with repository.config_reader("repository") as config:
        return bool(config.get_value("user", "email", default="") == IDENTITY_EMAIL)


def _not_ours(lab: Path) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"lab: {lab} is not a lab (it holds other files): name an empty or new folder with --lab",
        reason="LAB_NOT_OURS",
    )


def _with_ignored(text: str) -> str:
    missing = [line for line in IGNORED if line not in text.splitlines()]
    return text + ("" if text.endswith("\n") or not text else "\n") + "".join(f"{line}\n" for line in missing)
