"""A proposer that is a language model with the ten tools.

Its conversation is a convenience: everything that matters stands in the ledger, and a new conversation is
begun from there when the old one grows too long. That happens between experiments only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable

from agent.llm.bench import LlmBench
from agent.llm.brief import NUDGE, SYSTEM, describe_news, describe_state, describe_verdict
from agent.llm.metered import MeteredProvider, ProviderFailed, estimate_tokens
from agent.llm.reading_source import source_edits_code
from agent.proposer import Draft, Proposer, ResearchContext, Trial
from agent.provider import Conversation, Message, Role, ToolCall, ToolResult, Turn, TurnEnd
from agent.search.hyperparameters import changed_values
from agent.tools.answer import failure
from agent.tools.toolbox import TOOL_SPECS, call_tool, find_tool, read_arguments
from services.errors import InvalidArgumentError, ServiceError

MOST_TURNS = 24
MOST_NUDGES = 2
MOST_SAME_CALLS = 3
MOST_OVERFLOWS = 2
TOKEN_BUDGET = 60_000
RUN = "run_experiment"
log = logging.getLogger(__name__)


class LlmProposer:
    """`guidance` answers what the owner of the lab asks for at the moment, empty for nothing.

    `optimizer` answers what a search beside it knows (hybrid), empty without one.
    """

    def __init__(
        self,
        model: MeteredProvider,
        bench: LlmBench,
        *,
        guidance: Callable[[], str] = lambda: "",
        optimizer: Callable[[], str] = lambda: "",
        token_budget: int = TOKEN_BUDGET,
    ) -> None:
        self.name = model.provider.name
        self._model = model
        self._bench = bench
        self._guidance = guidance
        self._optimizer = optimizer
        self._token_budget = token_budget
        self._messages: list[Message] = []
        self._answers: list[ToolResult] = []
        self._waiting: ToolCall | None = None
        self._asked = ""
        self.resets = 0

    async def check(self) -> None:
        await self._model.check()

    async def propose(self, context: ResearchContext) -> Draft | None:
        """One slot: turns until the model runs an experiment. Raises InvalidArgumentError for a slot that
        came to nothing; then the conversation begins anew, so that no bad habit stays in it."""
        self._bench.reset()
        self._begin(context)
        try:
            description = await self._work(context)
        except (InvalidArgumentError, ProviderFailed, asyncio.CancelledError):
            self._forget()
            raise
        source, incumbent = self._bench.draft(), self._bench.incumbent()
        return Draft(
            source=source,
            description=description,
            changes=changed_values(incumbent, source),
            edits_code=source_edits_code(incumbent, source),
        )

    async def learn(self, trial: Trial) -> None:
        """Gives the verdict to the conversation as the answer of its run_experiment."""
        if self._waiting is None:
            return
        told = {**describe_verdict(trial), **self._bench.last_lines(trial.number)}
        text = json.dumps(told, ensure_ascii=False)
        self._answers.insert(0, ToolResult(self._waiting.call_id, RUN, text))
        self._messages.append(Message(Role.TOOL, tool_results=tuple(self._answers)))
        self._waiting, self._answers = None, []

    async def close(self) -> None:
        await self._model.provider.close()

    async def _work(self, context: ResearchContext) -> str:
        nudges = overflows = 0
        calls: Counter[str] = Counter()
        for _ in range(MOST_TURNS):
            try:
                turn = await self._model.complete(context.next_number, self._conversation(), TOOL_SPECS)
            except InvalidArgumentError as error:
                overflows += 1
                if overflows > MOST_OVERFLOWS:
                    raise ProviderFailed(error.message, reason=error.reason) from error
                self._restart(context)
                continue
            self._messages.append(turn.as_message())
            if not turn.tool_calls:
                nudges += 1
                if nudges > MOST_NUDGES:
                    raise InvalidArgumentError(_why_silent(turn), field="turn")
                self._messages.append(Message(Role.USER, NUDGE))
                continue
            calls.update(_key(call) for call in turn.tool_calls)
            if max(calls.values()) > MOST_SAME_CALLS:
                raise InvalidArgumentError("the model repeats the same call", field="turn")
            if await self._answer(turn):
                return self._bench.wanted or "no description"
        raise InvalidArgumentError(f"no experiment within {MOST_TURNS} turns", field="turn")

    async def _answer(self, turn: Turn) -> bool:
        """Answers the calls of a turn; True once run_experiment was accepted, whose answer comes later."""
        results: list[ToolResult] = []
        for call in turn.tool_calls:
            if self._waiting is not None:
                late = failure("NOT_RUN", "the experiment runs first: call this again afterwards")
                results.append(ToolResult(call.call_id, call.name, late.text, failed=True))
                continue
            result = await self._call(call)
            if call.name == RUN and self._bench.wanted is not None:
                self._waiting = call
                continue
            results.append(result)
        if self._waiting is not None:
            self._answers = results
            return True
        self._messages.append(Message(Role.TOOL, tool_results=tuple(results)))
        return False

    async def _call(self, call: ToolCall) -> ToolResult:
        try:
            tool = find_tool(call.name)
            if call.arguments is None:
                raise InvalidArgumentError(
                    f"the arguments of {call.name} are not a JSON object: {call.raw_arguments[:200]!r}",
                    field="arguments",
                    reason="INVALID_ARGUMENTS",
                )
            answer = await call_tool(self._bench, tool, read_arguments(tool, call.arguments))
        except ServiceError as error:
            answer = failure(error.reason, error.message)
        return ToolResult(call.call_id, call.name, answer.text, answer.failed)

    def _begin(self, context: ResearchContext) -> None:
        if self._waiting is not None:  # the verdict never came: a stop and a start lie between
            self._forget()
        if self._messages and estimate_tokens(self._conversation(), TOOL_SPECS) > self._token_budget:
            self._forget()
        guidance, self._asked = self._news_of_guidance(), self._guidance()
        if not self._messages:
            text = describe_state(context, self._asked, self._optimizer())
        else:
            text = describe_news(context, guidance, self._optimizer())
        self._messages.append(Message(Role.USER, text))

    def _news_of_guidance(self) -> str:
        asked = self._guidance()
        return asked if asked != self._asked else ""

    def _restart(self, context: ResearchContext) -> None:
        """A new conversation in the middle of an idea: the draft stays, and the model is told of it."""
        draft_differs = self._bench.draft() != self._bench.incumbent()
        self._forget()
        text = describe_state(context, self._guidance(), self._optimizer())
        if draft_differs:
            text += "\n\nYour draft differs from the incumbent already: see get_config and read_code."
        self._messages.append(Message(Role.USER, text))

    def _forget(self) -> None:
        self._messages, self._answers, self._waiting = [], [], None
        self.resets += 1

    def _conversation(self) -> Conversation:
        return Conversation(SYSTEM, tuple(self._messages))


def _key(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True, default=str)} {call.raw_arguments}"


def _why_silent(turn: Turn) -> str:
    match turn.end:
        case TurnEnd.REFUSAL:
            return "the model refused"
        case TurnEnd.LENGTH:
            return "the model's answers were cut off at their greatest length"
        case _:
            return "the model stopped without an experiment"


_: type[Proposer] = LlmProposer
