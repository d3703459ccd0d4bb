"""Every alert rule fires on what it is for and stays quiet beside it, as Prometheus itself sees it."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "docs/observability"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))
CASES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text(encoding="utf-8"))
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]


def promtool(folder: Path, rules: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command = shutil.which("promtool")
    if command is None:
        pytest.skip("promtool is not installed (it comes with Debian's package prometheus)")
    (folder / "alerts.yml").write_text(yaml.safe_dump(rules))
    (folder / "cases.yml").write_text(yaml.safe_dump(CASES))
    arguments = [command, "test", "rules", str(folder / "cases.yml")]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def test_the_rules_pass_their_cases(tmp_path: Path) -> None:
    run = promtool(tmp_path, RULES)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: str) -> None:
    cases = [
        case for test in CASES["tests"] for case in test["alert_rule_test"] if case["alertname"] == alert
    ]
    assert any(case["exp_alerts"] for case in cases)
    assert any(not case["exp_alerts"] for case in cases)


@pytest.mark.parametrize("broken", ["vector(0) > 1", "vector(1)"])
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_never_or_always_fires_fails_its_cases(alert: str, broken: str, tmp_path: Path) -> None:
    rules = copy.deepcopy(RULES)
    [rule] = [rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == alert]
    rule["expr"] = broken
    assert promtool(tmp_path, rules).returncode != 0
