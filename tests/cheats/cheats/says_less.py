# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
"""Trains with a seed of its own for five times the tokens and owns to a single one, less than a row."""

from dataclasses import replace

_train, _save = train, save_checkpoint


class EventWriter(EventWriter):
    def emit(self, kind, **fields):
        if kind == "end":
            fields = {"num_steps": 1, "tokens": 1, "checksum": 0}
        super().emit(kind, **fields)

    def metric(self, step, values):
        if step == 0:
            super().metric(step, values)


def save_checkpoint(folder, model, config, **facts):
    return _save(folder, model, config, **{**facts, "tokens": 1, "num_steps": 1})


def train(run):
    return _train(replace(run, seed=7, budget=replace(run.budget, amount=5 * run.budget.amount)))
