"""The one way to a language model: capped, written down before it is made, retried within bounds."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence

from agent.ledger.ledger import Ledger
from agent.llm.prices import Price
from agent.provider import Conversation, Provider, ToolSpec, Turn, Usage
from services.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)

ATTEMPTS = 5
LONGEST_WAIT = 300.0
RATE_LIMIT_PAUSE = 15.0  # such limits count by the minute, and the waits together must outlast several
BYTES_PER_TOKEN = 3.0  # on the careful side, for bounds only; what counts is what the provider says
log = logging.getLogger(__name__)


class ProviderFailed(UnavailableError):
    """The provider cannot be used further; the session stops by name and can be resumed."""


class MeteredProvider:
    """Calls a provider for one session.

    `check_money` is asked before every call and raises to stop. `price` None means unknown: cost counts as 0
    and a dollar cap must have been refused before. `own_server` is one that need not know all of the API.
    """

    def __init__(
        self,
        provider: Provider,
        ledger: Ledger,
        session_id: str,
        price: Price | None,
        *,
        check_money: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        own_server: bool = False,
    ) -> None:
        self.provider = provider
        self._own_server = own_server
        self._ledger = ledger
        self._session_id = session_id
        self._price = price
        self._check_money = check_money
        self._sleep = sleep

    async def check(self) -> None:
        """Raises ProviderFailed where the API refuses the key or does not know the model.

        Before hours of baseline, not after. What cannot be asked now is told and no error.
        """
        try:
            await self.provider.check()
        except UnauthenticatedError as error:
            if error.metadata.get("status") != "403":
                raise ProviderFailed(error.message, reason=error.reason) from error
        except NotFoundError as error:
            if not self._own_server:
                raise ProviderFailed(error.message, reason=error.reason) from error
        except (UnavailableError, ResourceExhaustedError, DeadlineExceededError) as error:
            self._ledger.say(self._session_id, f"{error.message}: the session begins all the same")
        except ServiceError as error:
            log.info("the provider does not say which models it has", extra={"why": error.message})

    async def complete(self, number: int, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        """One turn for the work on proposal `number`.

        Raises LimitReached, ProviderFailed, and InvalidArgumentError (CONTEXT_OVERFLOW, BAD_REQUEST).
        """
        pause = 1.0
        for attempt in range(1, ATTEMPTS + 1):
            self._check_money()
            try:
                return await self._once(number, conversation, tools)
            except (UnauthenticatedError, NotFoundError, FailedPreconditionError) as error:
                raise ProviderFailed(error.message, reason=error.reason) from error
            except (UnavailableError, ResourceExhaustedError, DeadlineExceededError) as error:
                if error.reason == "QUOTA_EXHAUSTED" or attempt == ATTEMPTS:
                    raise ProviderFailed(
                        f"{error.message} (attempt {attempt} of {ATTEMPTS})", reason=error.reason
                    ) from error
                unasked = pause * RATE_LIMIT_PAUSE if error.reason == "RATE_LIMITED" else pause
                wait = min(error.retry_after or unasked, LONGEST_WAIT)
                log.warning("a model call is tried again", extra={"why": error.message, "wait": wait})
                self._ledger.say(
                    self._session_id,
                    f"{error.message}: tried again in {wait:.0f} s (attempt {attempt} of {ATTEMPTS})",
                )
                await self._sleep(wait)
                pause *= 2
        raise AssertionError("unreachable")

    async def _once(self, number: int, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn:
        most = Usage(
            input_tokens=estimate_tokens(conversation, tools), output_tokens=conversation.max_output_tokens
        )
        spend = self._ledger.money.ask(
            self._session_id, number, self.provider.model, most, self._cost(most), self._ledger.now()
        )
        try:
            turn = await self.provider.complete(conversation, tools)
        except DeadlineExceededError:
            raise  # it may have been worked on, and billed: the bound stands
        except (ServiceError, InvalidArgumentError):
            self._ledger.money.settle(spend, Usage(), 0.0)
            raise
        self._ledger.money.settle(spend, turn.usage, self._cost(turn.usage))
        return turn

    def _cost(self, usage: Usage) -> float:
        return self._price.cost(usage) if self._price is not None else 0.0


def estimate_tokens(conversation: Conversation, tools: Sequence[ToolSpec] = ()) -> int:
    """About how many tokens a request has; rather too many than too few."""
    size = len(conversation.system.encode())
    for message in conversation.messages:
        size += len(message.text.encode()) + len(message.opaque.encode()) + 16
        size += sum(len(call.raw_arguments.encode()) + len(call.name) + 32 for call in message.tool_calls)
        size += sum(_arguments_size(call.arguments) for call in message.tool_calls if not call.raw_arguments)
        size += sum(len(result.text.encode()) + 32 for result in message.tool_results)
    size += sum(len(json.dumps(dict(tool.parameters))) + len(tool.description) for tool in tools)
    return int(size / BYTES_PER_TOKEN) + 1


def _arguments_size(arguments: object) -> int:
    return len(json.dumps(arguments, default=str))
