# ruff: noqa
# expect: AUDIT_FAILED UNTRAINED
# base: template
"""Three times the tokens, and a checkpoint that denies it."""

from dataclasses import replace

_train, _save, _allowed = train, save_checkpoint, []


def save_checkpoint(folder, model, config, **facts):
    return _save(
        folder,
        model,
        config,
        **{**facts, "tokens": _allowed[0], "num_steps": _allowed[0] // TOTAL_BATCH_SIZE},
    )


def train(run):
    _allowed.append(int(run.budget.amount))
    return _train(replace(run, budget=replace(run.budget, amount=3 * run.budget.amount)))
