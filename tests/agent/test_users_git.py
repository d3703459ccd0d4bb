"""Set-ups of git on other people's machines: each works, or is named before anything is trained."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.cli.history import best_diff
from agent.lab.workspace import Workspace, make_lab, open_lab
from agent.launch.environment import child_environment
from services.errors import FailedPreconditionError
from tests.agent.cli.command import run_command
from tests.agent.cli.test_history import write_lab

FILES = {"train.py": "A = 1\nB = 2\n", "program.md": "How to work.\n"}
HOOKS = (
    "applypatch-msg", "commit-msg", "post-checkout", "post-commit", "post-merge", "pre-commit",
    "pre-merge-commit", "prepare-commit-msg", "reference-transaction",
)  # fmt: skip
SETUPS = {
    "nothing at all": "",
    "no identity": "[user]\n\tuseConfigOnly = true\n",
    "signing": "[commit]\n\tgpgsign = true\n[tag]\n\tgpgsign = true\n[gpg]\n\tprogram = false\n",
    "only signed merges": "[merge]\n\tverifySignatures = true\n[gpg]\n\tprogram = false\n",
    "merge commits": "[merge]\n\tff = false\n[pull]\n\trebase = true\n",
    "hooks": "[core]\n\thooksPath = {home}/hooks\n",
    "template": "[init]\n\ttemplateDir = {home}/template\n",
    "branch": "[init]\n\tdefaultBranch = trunk\n",
    "autocrlf": "[core]\n\tautocrlf = true\n\tsafecrlf = true\n",
    "crlf": "[core]\n\teol = crlf\n\tattributesFile = {home}/attributes\n",
    "filters": "[core]\n\tattributesFile = {home}/filtered\n"
    '[filter "f"]\n\tclean = false\n\tsmudge = false\n\trequired = true\n',
    "ignores": "[core]\n\texcludesFile = {home}/ignore\n",
    "colour and columns": "[color]\n\tui = always\n[column]\n\tui = always\n[core]\n\tpager = false\n",
    "diff tool": "[diff]\n\texternal = false\n\tnoprefix = true\n",
    "status": "[core]\n\tfsmonitor = false\n[status]\n\tshowUntrackedFiles = all\n\tbranch = true\n",
    "worktrees": "[extensions]\n\tworktreeConfig = true\n[worktree]\n\tguessRemote = true\n",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any configuration of their own, but with files that a configuration may name."""
    home = tmp_path / "home of mine"
    hook = "#!/bin/sh\necho refused by a hook >&2\nexit 1\n"
    for folder in (home / "hooks", home / "template" / "hooks"):
        folder.mkdir(parents=True)
        for name in HOOKS:
            (folder / name).write_text(hook)
            (folder / name).chmod(0o755)
    (home / "template" / "info").mkdir()
    (home / "template" / "info" / "exclude").write_text("*\n")
    (home / "attributes").write_text("* text eol=crlf\n")
    (home / "filtered").write_text("*.py filter=f\n")
    (home / "ignore").write_text("*.py\n*.md\n")
    for name in [name for name in os.environ if name.startswith(("GIT_", "EMAIL"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "none"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


def configure(home: Path, text: str) -> None:
    (home / ".gitconfig").write_text(text.format(home=home))


def work(workspace: Workspace) -> None:
    """What a session does with git, from its start to two keeps and a resume."""
    workspace.show_branch()
    workspace.refuse_dirty()
    workspace.close_all_worktrees()
    for number, source in ((1, "A = 1\nB = 3\n"), (2, "A = 1\r\nB = 4\n")):
        parent = workspace.tip()
        workspace.open_worktree(number, parent, source)
        commit = workspace.commit(number, parent, source, f"change {number}", 1_700_000_000.0 + number)
        workspace.close_worktree(number)
        assert workspace.tip() == commit
        assert workspace.source_at(commit) == source
        assert (workspace.lab / "train.py").read_bytes() == source.encode()
        assert workspace.changes() == []
    workspace.close()


TOGETHER = "".join(text for name, text in SETUPS.items() if name != "filters")
"""Later values of one name win, so that of two files of attributes only one is named here."""
EACH = [
    pytest.param(SETUPS["nothing at all"], id="nothing at all"),
    pytest.param(TOGETHER, id="all together"),
    pytest.param(TOGETHER + SETUPS["filters"], id="with filters"),
    *(pytest.param(text, id=name, marks=pytest.mark.long) for name, text in SETUPS.items() if text),
]


@pytest.mark.parametrize("setup", EACH)
def test_a_lab_works_beside_any_set_up(home: Path, setup: str) -> None:
    configure(home, setup)
    lab = home / "my lab"
    made = make_lab(lab, "lab", FILES, "cpu")
    assert made.source_at(made.tip()) == FILES["train.py"]
    work(made)
    assert "+B = 4" in best_diff(lab, "lab")


@pytest.mark.parametrize("setup", EACH)
def test_an_older_lab_works_when_the_set_up_changes(home: Path, setup: str) -> None:
    """Its own configuration is what an earlier version, or its owner, left there."""
    configure(home, "")
    lab = home / "lab"
    make_lab(lab, "lab", FILES, "cpu").close()
    own = lab / ".git" / "config"
    own.write_text("[core]\n\tbare = false\n[user]\n\temail = lab@autoresearch.invalid\n")
    configure(home, setup)
    opened = open_lab(lab, "lab")
    assert opened is not None
    work(opened)


async def test_a_repository_that_the_environment_names_is_left_alone(home: Path) -> None:
    """As in a hook or an alias of the user's own repository."""
    lab, other = home / "lab", home / "thesis"
    write_lab(lab)
    subprocess.run(["git", "init", "-q", str(other)], check=True)
    named: Any = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / "i"),
    }
    report = await run_command("report", "--lab", str(lab), **named)
    assert "+DEPTH = 5" in report.out
    assert child_environment(with_keys=False, environment=named | {"A": "b"}).keys() == {
        "A",
        "PYTHONUNBUFFERED",
    }


def test_a_lab_of_another_user_is_named_with_the_way_out(home: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    lab = home / "my lab"
    make_lab(lab, "lab", FILES, "cpu").close()
    for path in (lab, *lab.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(FailedPreconditionError, match="belongs to another user") as caught:
        open_lab(lab, "lab")
    way_out = f"git config --global --add safe.directory '{lab}'"
    assert way_out in caught.value.message
    subprocess.run(["bash", "-c", way_out], check=True)
    opened = open_lab(lab, "lab")
    assert opened is not None
    work(opened)
