# ruff: noqa
# expect: AUDIT_FAILED BUDGET_EXCEEDED
# base: template
"""Three times the tokens of its budget."""

from dataclasses import replace

_train = train


def train(run):
    return _train(replace(run, budget=replace(run.budget, amount=3 * run.budget.amount)))
