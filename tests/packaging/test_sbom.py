"""The bill of materials names what a user installs, with versions and licences; no developer tools."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def test_it_names_every_runtime_dependency_and_none_for_development(tmp_path: Path) -> None:
    target = tmp_path / "dist" / "sbom.json"
    command = [sys.executable, str(ROOT / ".ci/sbom.py"), str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    made = json.loads(target.read_text(encoding="utf-8"))
    assert (made["bomFormat"], made["metadata"]["component"]["name"]) == ("CycloneDX", "autoresearch-stack")
    versions = {canonicalize_name(part["name"]): part["version"] for part in made["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(text for extra in extras if extra != "dev" for text in extras[extra]),
    ]
    named = {canonicalize_name(Requirement(text).name) for text in wanted} - {project["name"]}
    present = {name for name in named if is_installed(name)}
    assert len(present) > 30
    assert {name: versions.get(name) for name in present} == {
        name: importlib.metadata.version(name) for name in present
    }
    assert "urllib3" in versions, "what the dependencies need is named as well"
    assert not {"pytest", "mypy", "ruff", "cyclonedx-bom", "hypothesis"} & set(versions)
    licensed = [part for part in made["components"] if part.get("licenses")]
    assert len(licensed) > 0.9 * len(versions)
    assert str(Path.home()) not in target.read_text(encoding="utf-8")


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
