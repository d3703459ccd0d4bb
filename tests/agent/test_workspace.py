"""The lab's repository: real git in real folders."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.lab.workspace import TRAILER, Workspace, check_tag, make_lab, open_lab
from services.errors import FailedPreconditionError, InvalidArgumentError

FILES = {"train.py": "A = 1\n", "program.md": "How to work.\n"}


def git(lab: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(lab), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_lab(tmp_path / "lab", "lab", FILES, "cpu")
    made.show_branch()
    return made


def keep(workspace: Workspace, number: int, source: str) -> str:
    message = f"change {number}\n\n{TRAILER}: s-p{number}\n"
    return workspace.commit(number, workspace.tip(), source, message, 1_700_000_000.0 + number)


def test_a_new_lab_has_one_commit_by_the_labs_own_identity(workspace: Workspace) -> None:
    assert git(workspace.lab, "log", "--format=%an <%ae> %s") == (
        "autoresearch lab <lab@autoresearch.invalid> Template, preset cpu"
    )
    assert git(workspace.lab, "branch", "--show-current") == "autoresearch/lab"
    (workspace.lab / "results.tsv").write_text("x")
    (workspace.lab / "best").mkdir()
    (workspace.lab / "best" / "model.safetensors").write_text("x")
    assert git(workspace.lab, "status", "--porcelain") == ""


def test_a_keep_moves_branch_and_work_tree_and_leaves_both_clean(workspace: Workspace) -> None:
    workspace.open_worktree(1, workspace.tip(), "A = 2\n")
    assert (workspace.lab / "train.py").read_text() == "A = 1\n", "the user's file waits for the verdict"
    commit = keep(workspace, 1, "A = 2\n")
    workspace.close_worktree(1)
    assert workspace.tip() == commit == git(workspace.lab, "rev-parse", "HEAD")
    assert (workspace.lab / "train.py").read_text() == "A = 2\n"
    assert workspace.changes() == []
    assert workspace.source_at(workspace.template_commit()) == "A = 1\n"
    assert not workspace.worktree(1).exists()


def test_the_same_keep_taken_again_makes_the_same_commit_once(workspace: Workspace) -> None:
    parent = workspace.tip()
    first = workspace.commit(1, parent, "A = 2\n", "two", 1000.0)
    assert workspace.commit(1, parent, "A = 2\n", "two", 1000.0) == first
    workspace.close_worktree(1)
    assert workspace.commit(1, parent, "A = 2\n", "two", 1000.0) == first
    assert git(workspace.lab, "rev-list", "--count", "HEAD") == "2"


def test_a_keep_cut_short_after_its_commit_is_finished_by_the_next(workspace: Workspace) -> None:
    parent = workspace.tip()
    made = workspace._make_commit(1, parent, "A = 2\n", "two", 1000.0)
    assert workspace.tip() == parent, "killed here: the commit exists, the branch does not know it"
    reopened = open_lab(workspace.lab, "lab")
    assert reopened is not None
    reopened.close_all_worktrees()
    assert reopened.commit(1, parent, "A = 2\n", "two", 1000.0) == made == reopened.tip()


def test_changes_of_the_user_are_never_touched(workspace: Workspace) -> None:
    (workspace.lab / "train.py").write_text("A = 99  # mine\n")
    parent = workspace.tip()
    with pytest.raises(FailedPreconditionError) as caught:
        workspace.commit(1, parent, "A = 2\n", "two", 1000.0)
    assert caught.value.reason == "LAB_DIRTY"
    assert "train.py" in caught.value.message
    assert (workspace.lab / "train.py").read_text() == "A = 99  # mine\n"
    assert workspace.tip() == parent
    other = open_lab(workspace.lab, "other")
    assert other is not None
    with pytest.raises(FailedPreconditionError):
        other.show_branch()
    git(workspace.lab, "checkout", "train.py")
    assert workspace.commit(1, parent, "A = 2\n", "two", 1000.0) == workspace.tip()


def test_a_branch_that_went_elsewhere_is_not_moved(workspace: Workspace) -> None:
    parent = workspace.tip()
    (workspace.lab / "train.py").write_text("A = 7\n")
    git(workspace.lab, "commit", "-am", "by hand")
    tip = workspace.tip()
    with pytest.raises(FailedPreconditionError) as caught:
        workspace.commit(1, parent, "A = 2\n", "two", 1000.0)
    assert caught.value.reason == "LAB_MOVED"
    assert workspace.tip() == tip


def test_a_keep_while_the_user_looks_at_another_branch_leaves_the_work_tree(workspace: Workspace) -> None:
    git(workspace.lab, "switch", "--quiet", "--create", "mine")
    commit = keep(workspace, 1, "A = 2\n")
    assert workspace.tip() == commit
    assert git(workspace.lab, "branch", "--show-current") == "mine"
    assert (workspace.lab / "train.py").read_text() == "A = 1\n"


def test_a_second_tag_begins_at_the_template(workspace: Workspace) -> None:
    keep(workspace, 1, "A = 2\n")
    workspace.close_worktree(1)
    other = open_lab(workspace.lab, "mar18")
    assert other is not None
    other.show_branch()
    assert other.tip() == workspace.template_commit()
    assert (workspace.lab / "train.py").read_text() == "A = 1\n"


@pytest.mark.parametrize("content", [{"thesis.tex": "mine"}, {".git/config": "", "x": "1"}])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    lab = tmp_path / "folder"
    for name, text in content.items():
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text(text)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: open_lab(lab, "lab"),
        lambda: make_lab(lab, "lab", FILES, "cpu"),
    )
    for attempt in attempts:
        with pytest.raises(FailedPreconditionError) as caught:
            attempt()
        assert caught.value.reason == "LAB_NOT_OURS"


def test_somebody_elses_repository_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    (tmp_path / "repo" / "train.py").write_text("mine")
    git(tmp_path / "repo", "add", "train.py")
    git(tmp_path / "repo", "-c", "user.email=a@b", "-c", "user.name=a", "commit", "-qm", "mine")
    with pytest.raises(FailedPreconditionError) as caught:
        open_lab(tmp_path / "repo", "lab")
    assert caught.value.reason == "LAB_NOT_OURS"


def test_a_lab_whose_making_was_killed_is_made_again(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    subprocess.run(["git", "init", "-q", str(lab)], check=True)
    assert open_lab(lab, "lab") is None
    assert make_lab(lab, "lab", FILES, "cpu").source_at("HEAD") == "A = 1\n"


def test_a_template_cannot_write_outside_the_lab(tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError):
        make_lab(tmp_path / "lab", "lab", {"../evil": "x"}, "cpu")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("tag", ["a/b", "..", "-x", "a b", "x" * 40, "ä"])
def test_tags_that_git_or_a_shell_would_read_differently_are_refused(tag: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        check_tag(tag)
    assert caught.value.reason == "INVALID_TAG"


def test_the_users_hooks_do_not_run_in_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n[commit]\n\tgpgsign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    lab = make_lab(tmp_path / "lab", "lab", FILES, "cpu")
    lab.show_branch()
    assert keep(lab, 1, "A = 2\n") == lab.tip()
