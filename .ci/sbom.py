"""Writes the bill of materials of what a user installs: `python .ci/sbom.py FILE` (CycloneDX, JSON).

Run by `make sbom`. cyclonedx-py lists the environment; what only developers need is left out again.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def runtime_names() -> set[str]:
    """Names of every installed package that the project needs with all of its extras but `dev`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [group for extra, group in project["optional-dependencies"].items() if extra != "dev"]
    waiting = [Requirement(text) for group in [project["dependencies"], *groups] for text in group]
    found: set[str] = set()
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen or name == project["name"]:
            continue
        seen.add(str(requirement))
        try:
            further = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that this environment lacks, such as fa4
        found.add(name)
        extras = (*requirement.extras, "")
        for deeper in map(Requirement, further):
            if deeper.marker is None or any(deeper.marker.evaluate({"extra": one}) for one in extras):
                waiting.append(deeper)
    return found


def bill() -> dict[str, Any]:
    # Validating takes fifteen seconds and would look at what is left out again below.
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--no-validate"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application", "--of", "JSON"]
    run = subprocess.run([*command, sys.executable], capture_output=True, text=True, check=True)
    made: dict[str, Any] = json.loads(run.stdout)
    names = runtime_names()
    kept = [part for part in made["components"] if canonicalize_name(part["name"]) in names]
    references = {part["bom-ref"] for part in kept} | {made["metadata"]["component"]["bom-ref"]}
    made["components"] = kept
    made["dependencies"] = [
        {**edge, "dependsOn": sorted(references & set(edge.get("dependsOn", ())))}
        for edge in made["dependencies"]
        if edge["ref"] in references
    ]
    return made


def main() -> None:
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    made = bill()
    target.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{target}: {len(made['components'])} packages\n")


if __name__ == "__main__":
    main()
