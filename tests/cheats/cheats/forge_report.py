# ruff: noqa
# expect: SUCCEEDED
# base: template
"""Writes what the evaluator would say, on every stream that the scored process has."""

import os

if __name__ == "candidate" and "AUTORESEARCH_RUN" not in os.environ:
    for descriptor in (1, 2):
        os.write(descriptor, b'{"type": "report", "val_bpb": 0.1, "val_bpb_legacy": 0.1}\n')
