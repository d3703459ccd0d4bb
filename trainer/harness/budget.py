"""The budget clock: how far a run has come and whether another step is allowed."""

import time
from collections.abc import Callable

from trainer.harness.failures import ContractError
from trainer.harness.run_spec import Budget


class BudgetClock:
    """Counts steps, tokens and seconds from start(); every step counts.

    step_tokens is what one optimizer step consumes, flops_per_token what one token costs (needed for
    budgets by flops only). A budget by tokens or flops is never exceeded; one by time ends with the
    first step that ends after it.
    """

    def __init__(
        self,
        budget: Budget,
        step_tokens: int,
        flops_per_token: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.step_tokens = step_tokens
        self.flops_per_token = flops_per_token
        self.num_steps = 0
        self._clock = clock
        self._started: float | None = None
        self._ended: float | None = None
        if budget.kind == "flops" and not flops_per_token > 0:
            raise ContractError("a budget by flops needs flops_per_token")
        if budget.kind != "time" and self.steps_in_all < 1:
            raise ContractError(
                f"the budget of {budget.amount:.4g} {budget.kind} is smaller than one step"
                f" of {step_tokens} tokens; lower TOTAL_BATCH_SIZE"
            )

    @property
    def steps_in_all(self) -> int:
        """Steps that a budget by tokens or flops allows; 0 for time."""
        if self.budget.kind == "tokens":
            return int(self.budget.amount // self.step_tokens)
        if self.budget.kind == "flops":
            return int(self.budget.amount // (self.step_tokens * self.flops_per_token))
        return 0

    @property
    def tokens(self) -> int:
        return self.num_steps * self.step_tokens

    @property
    def seconds(self) -> float:
        """Training seconds so far, or in all once ended."""
        if self._started is None:
            return 0.0
        return (self._clock() if self._ended is None else self._ended) - self._started

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the budget is spent."""
        if self.budget.kind == "time":
            return min(self.seconds / self.budget.amount, 1.0)
        return self.num_steps / self.steps_in_all

    def start(self) -> None:
        self._started = self._clock()

    def allows_step(self) -> bool:
        if self._started is None:
            raise ContractError("start the budget clock before the first step")
        if self.budget.kind == "time":
            return self.seconds < self.budget.amount
        return self.num_steps < self.steps_in_all

    def count_step(self) -> None:
        self.num_steps += 1

    def end(self) -> None:
        """Stops the clock; call it after the device has finished the last step."""
        self._ended = self._clock()
