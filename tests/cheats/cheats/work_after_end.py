# ruff: noqa
# expect: FAILED TIMEOUT
# base: template
# wall: 45
"""Goes on for ever after it has said that training ended."""

_train = train


def train(run):
    _train(run)
    time.sleep(3600)
