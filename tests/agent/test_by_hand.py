"""A session by hand: what an experiment that was stopped half-way answers, and what becomes of it."""

from __future__ import annotations

import asyncio

from agent.proposer import Draft
from agent.search.hyperparameters import set_values
from agent.session.drafting import Spent
from agent.session.session import Session
from agent.verdict import Verdict
from tests.agent.conftest import MUCH_WORSE, call


async def test_an_experiment_that_is_stopped_is_not_taken_for_the_one_before(by_hand: Session) -> None:
    await call(by_hand, "set_hyperparams", changes=MUCH_WORSE)
    await call(by_hand, "run_experiment", description="worse")
    await call(by_hand, "discard")
    await call(by_hand, "set_hyperparams", changes={"MATRIX_LR": 0.001})
    asking = asyncio.create_task(call(by_hand, "run_experiment", description="less bad"))
    while not by_hand.running:
        await asyncio.sleep(0)
    await by_hand.stop()
    answer, refused = await asyncio.wait_for(asking, 30)
    assert refused
    assert "stopped before it was judged" in str(answer["message"])


async def test_an_unjudged_experiment_is_given_up_or_goes_on_and_never_stands_for_another_draft(
    by_hand: Session,
) -> None:
    await call(by_hand, "set_hyperparams", changes=MUCH_WORSE)
    await call(by_hand, "run_experiment", description="worse")
    await call(by_hand, "discard")
    source = set_values(by_hand.ledger.text(by_hand.record.tip_source_hash), {"MATRIX_LR": 0.001})
    by_hand.drafting.admit(2, Draft(source, "as a stop leaves it", {"MATRIX_LR": 0.001}, False), Spent())
    await call(by_hand, "set_hyperparams", changes={"MATRIX_LR": 0.002})
    answer, refused = await call(by_hand, "run_experiment", description="another")
    assert refused
    assert "experiment 2 (as a stop leaves it)" in str(answer["message"])
    answer, refused = await call(by_hand, "discard")
    assert (answer["number"], answer["draft"], refused) == (2, "as it was", False)
    answer, _ = await call(by_hand, "run_experiment", description="another")
    assert answer["number"] == 3
    made = by_hand.ledger.proposals.all(by_hand.session_id)
    assert made[2].verdict is Verdict.REFUSED
    assert made[3].hyperparameters["MATRIX_LR"] == 0.002
