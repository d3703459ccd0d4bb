# ruff: noqa
# expect: FAILED TIMEOUT
# base: template
# budget: time 2
"""Slows the clock that the budget is read from; the daemon has its own."""

_clock = time.monotonic
_began = _clock()
time.monotonic = lambda: _began + (_clock() - _began) / 1000.0


class BudgetClock(BudgetClock):
    def __init__(self, *arguments):
        super().__init__(*arguments, clock=time.monotonic)
