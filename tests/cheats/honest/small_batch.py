# ruff: noqa
# base: template
# set: TOTAL_BATCH_SIZE=256, DEVICE_BATCH_SIZE=4
"""Half the batch."""

pass
