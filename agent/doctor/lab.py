"""Checks of the lab, its data, the daemons that run for it, and the keys of language models."""

from __future__ import annotations

import hashlib
import json
import shlex
import sqlite3
import time
from pathlib import Path

from agent.doctor.examination import Check, Finding, Surroundings, error, ok, warn
from agent.lab.lock import is_locked, read_holder
from agent.launch.environment import key_names
from services.errors import ServiceError

LEDGER_NAME = "ledger.db"


def check_lab(around: Surroundings) -> list[Finding]:
    """The folder is absent or a lab of ours, and its work tree is clean."""
    from agent.lab.workspace import open_lab

    try:
        workspace = open_lab(around.lab, "lab")
    except ServiceError as problem:
        return [error("lab", str(problem), "name another folder with --lab")]
    if workspace is None:
        return [ok("lab", f"no lab at {around.lab} yet: `run` makes it")]
    try:
        changed = workspace.changes()
        branch = workspace.checked_out()
    except ServiceError as problem:
        return [error("lab", str(problem), f"repair the git repository {around.lab}")]
    finally:
        workspace.close()
    findings = []
    if changed:
        findings.append(
            error(
                "lab",
                f"{', '.join(changed[:3])} in {around.lab} has changes that are not committed",
                f"`git -C {shlex.quote(str(around.lab))} commit -am message` makes them part of the "
                "incumbent; or undo them",
            )
        )
    if not branch.startswith("autoresearch/"):
        findings.append(
            warn(
                "lab",
                f"{around.lab} has {branch or 'no branch'} checked out",
                "`run` switches back by itself",
            )
        )
    return findings or [ok("lab", f"{around.lab} on {branch}, clean")]


def check_ledger(around: Surroundings) -> list[Finding]:
    """The ledger's file is whole."""
    path = around.lab / ".autoresearch" / LEDGER_NAME
    if not path.is_file():
        return []
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            has_tables = connection.execute("PRAGMA user_version").fetchone()[0] != 0
            if not has_tables and (around.lab / ".git").exists():
                answer = "it is empty"
        finally:
            connection.close()
    except sqlite3.Error as problem:
        answer = str(problem)
    if answer != "ok":
        return [
            error("ledger", f"{path} is damaged: {answer}", "restore it from a backup, or name another --lab")
        ]
    return [ok("ledger", f"{path} is whole")]


def check_lock(around: Surroundings) -> list[Finding]:
    """Who works in the lab now."""
    state = around.lab / ".autoresearch"
    if not is_locked(state):
        return []
    holder = read_holder(state)
    where = f", reachable at {holder['grpc']}" if holder.get("grpc") else ""
    return [
        warn("lock", f"process {holder.get('pid', '?')} works in {around.lab}{where}", "`run` attaches to it")
    ]


def check_data(around: Surroundings) -> list[Finding]:
    """Every prepared data set has all its files; with `deep` their hashes are compared as well."""
    if around.trainer_is_elsewhere:
        return []
    manifests = [path for path in sorted(around.data.glob("*/manifest.json")) if path.parent.name[0] != "."]
    if not manifests:
        return [ok("data", f"none prepared in {around.data} yet: `run` and `train` do it")]
    findings: list[Finding] = []
    for manifest in manifests:
        folder = manifest.parent
        try:
            files: dict[str, str] = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            missing = [name for name in files if not (folder / name).is_file()]
            changed = [
                name
                for name, digest in files.items()
                if around.deep and name not in missing and _sha256(folder / name) != digest
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            findings.append(error("data", f"{manifest} cannot be read: {problem}", _again(folder)))
            continue
        for what, names in (("lacks", missing), ("has a changed", changed)):
            if names:
                findings.append(error("data", f"{folder} {what} {', '.join(names[:3])}", _again(folder)))
    return findings or [ok("data", f"{len(manifests)} data sets in {around.data}, no file missing")]


def check_keys(around: Surroundings) -> list[Finding]:
    """Which language models `auto` could use. A key's value is never looked at."""
    names = key_names(around.environment)
    findings = []
    for name in ("AUTORESEARCH_TOKEN_FILE", "AUTORESEARCH_AGENTD_TOKEN_FILE"):
        path = Path(around.environment.get(name, ""))
        if name in around.environment and not path.is_file():
            findings.append(
                error("keys", f"{name}: {path} does not exist", "make it with `autoresearch certs`")
            )
        elif name in around.environment and path.stat().st_mode & 0o077 and path.stat().st_mode & 0o044:
            findings.append(
                warn("keys", f"{name}: {path} can be read by others", f"chmod 600 {shlex.quote(str(path))}")
            )
    if not names:
        return [*findings, ok("keys", "no key of a language model: `auto` uses the search proposer")]
    text = ", ".join(names)
    return [*findings, ok("keys", f"{text} is set; `auto` uses it once --max-cost-usd is given, else search")]


def check_age(around: Surroundings) -> list[Finding]:
    """Nothing is left over from daemons that were killed."""
    state = around.lab / ".autoresearch"
    left = state / "addresses.json"
    if left.is_file() and not is_locked(state):
        age = max(0.0, around.now() - left.stat().st_mtime)
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(left.stat().st_mtime))
        if age > 60:
            return [
                warn("lock", f"daemons of {around.lab} were killed after {when}", "the next `run` resumes")
            ]
    return []


def _again(folder: Path) -> str:
    return f"delete {folder} and prepare it again"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CHECKS: tuple[Check, ...] = (check_lab, check_ledger, check_lock, check_age, check_data, check_keys)
