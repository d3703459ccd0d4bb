# ruff: noqa
# expect: FAILED IMPORT_ERROR
"""Looks for the evaluator to patch it: no part of it can be imported here."""

from trainer.evaluation import scoring

scoring.token_nats = lambda logits, targets: logits[..., 0] * 0
