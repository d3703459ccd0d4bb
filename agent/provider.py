"""The seam between the loop and a language model: one conversation in, one turn out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """Who speaks. TOOL messages carry the results of the assistant's calls just before them."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class TurnEnd(StrEnum):
    """Why a model stopped speaking."""

    DONE = "done"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    REFUSAL = "refusal"
    OTHER = "other"


@dataclass(frozen=True)
class ToolSpec:
    """A tool as models are told of it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asked for.

    `arguments` is None when `raw_arguments` was not a JSON object (cut off, malformed); the loop answers
    such a call with an error and the model may try again.
    """

    call_id: str
    name: str
    arguments: Mapping[str, object] | None
    raw_arguments: str = ""


@dataclass(frozen=True)
class ToolResult:
    """The answer to a call, at most 4 KiB of text."""

    call_id: str
    name: str
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Message:
    """One message. `tool_calls` only with ASSISTANT, `tool_results` only with TOOL.

    `opaque` holds what a provider wants back unchanged with its own next request (thinking blocks and
    signatures), as JSON text; it is meaningless to others, who ignore it.
    """

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    opaque: str = ""


@dataclass(frozen=True)
class Conversation:
    """A system text and the messages so far. The system text and the tools change seldom: cache them."""

    system: str
    messages: tuple[Message, ...]
    max_output_tokens: int = 8192


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider's own fields count them.

    `input_tokens` excludes those read from or written to a cache.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.cached_input_tokens + self.cache_write_tokens + self.output_tokens

    def plus(self, other: Usage) -> Usage:
        """The sum of both, field by field."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True)
class Turn:
    """What a model said, the calls it asks for (several may come at once), and what that used."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    end: TurnEnd
    usage: Usage
    model: str
    opaque: str = ""

    def as_message(self) -> Message:
        """The turn as the assistant's message of the next request."""
        return Message(Role.ASSISTANT, self.text, self.tool_calls, (), self.opaque)


class Provider(Protocol):
    """A language model behind an API. Implementations: agent/providers/, opened by `open_provider`.

    `complete` makes one request and never retries by itself (the SDK's own retries are switched off): the
    caller counts money and attempts. It raises
    ResourceExhaustedError (RATE_LIMITED, with retry_after where the server gave a hint; QUOTA_EXHAUSTED),
    UnavailableError (PROVIDER_UNAVAILABLE: 5xx, overload, broken connection),
    DeadlineExceededError (PROVIDER_TIMEOUT),
    UnauthenticatedError (NO_KEY, BAD_KEY), NotFoundError (UNKNOWN_MODEL),
    InvalidArgumentError (CONTEXT_OVERFLOW when the conversation is too long; BAD_REQUEST otherwise).
    A refusal, a cut-off turn and malformed calls are no errors: they are Turns.

    `check` asks, at no cost, whether the API accepts the key and knows the model. It raises as `complete`
    does; a key that is refused by 403 may only lack the right to ask.
    """

    name: str
    model: str

    async def check(self) -> None: ...

    async def complete(self, conversation: Conversation, tools: Sequence[ToolSpec]) -> Turn: ...

    async def close(self) -> None: ...
