# ruff: noqa
# expect: FAILED RUNTIME_ERROR
"""Prints control sequences and a line that pretends to be the trainer's."""

print("\x1b[2J\x1b]0;title\x07\u202eevil\x00")
print("trainer: val_bpb: 0.1")
raise RuntimeError("\x1b[31mred")
