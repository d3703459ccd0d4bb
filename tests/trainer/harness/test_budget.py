"""The budget clock counts every step and never lets tokens or flops be exceeded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.harness.budget import BudgetClock
from trainer.harness.failures import ContractError
from trainer.harness.run_spec import Budget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_tokens_are_used_up_but_never_exceeded(amount: int, step_tokens: int) -> None:
    if amount < step_tokens:
        with pytest.raises(ContractError, match="TOTAL_BATCH_SIZE"):
            BudgetClock(Budget("tokens", amount), step_tokens)
        return
    clock = BudgetClock(Budget("tokens", amount), step_tokens)
    clock.start()
    seen = []
    while clock.allows_step():
        seen.append(clock.progress)
        clock.count_step()
    assert amount - step_tokens < clock.tokens <= amount
    assert seen[0] == 0.0
    assert seen == sorted(seen)
    assert clock.progress == 1.0


def test_time_counts_from_start_and_the_last_step_may_cross_the_end() -> None:
    now = Clock()
    clock = BudgetClock(Budget("time", 10.0), 64, clock=now)
    with pytest.raises(ContractError, match="start the budget clock"):
        clock.allows_step()
    now.now += 50  # compilation, before start: free
    clock.start()
    steps = 0
    while clock.allows_step():
        now.now += 3.0
        clock.count_step()
        steps += 1
    assert steps == 4
    assert clock.seconds == 12.0
    assert clock.progress == 1.0
    clock.end()
    now.now += 99
    assert clock.seconds == 12.0


def test_flops_allow_the_steps_they_pay_for() -> None:
    clock = BudgetClock(Budget("flops", 1000.0), 10, flops_per_token=30.0)
    assert clock.steps_in_all == 3
    with pytest.raises(ContractError, match="flops_per_token"):
        BudgetClock(Budget("flops", 1000.0), 10)


@pytest.mark.parametrize(("kind", "amount"), [("epochs", 1.0), ("tokens", 0.0), ("time", float("nan"))])
def test_a_wrong_budget_is_refused(kind: str, amount: float) -> None:
    with pytest.raises(ContractError, match="budget"):
        Budget(kind, amount)
