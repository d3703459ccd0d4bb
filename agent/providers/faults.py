"""What a provider's failures mean: one table from HTTP answers to our errors, for all providers."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from services.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnauthenticatedError,
    UnavailableError,
)

_OVERFLOW = re.compile(
    r"context[_ ](length|window|size)|prompt is too long|too many (input )?tokens|maximum context"
    r"|input token count.*exceeds|request too large|exceeds the (maximum number of tokens|available context)",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient_quota|credit balance|billing|exceeded your current quota.*plan|payment", re.IGNORECASE
)
_BAD_KEY = re.compile(
    r"api[_ ]key (not valid|invalid|expired)|invalid[_ ]api[_ ]key|API_KEY_INVALID", re.IGNORECASE
)
_DELAY = re.compile(r"(\d+(?:\.\d+)?)\s*s$")
_TRANSPORTS = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "anyio", "aiohttp"})
MESSAGE_LIMIT = 300
CHECK_SECONDS = 20.0


def fault(
    provider: str,
    status: int,
    message: str,
    *,
    code: str = "",
    headers: Mapping[str, str] | None = None,
    retry_delay: str = "",
    secret: str = "",
    now: float | None = None,
) -> ServiceError:
    """The error for an answer with this HTTP status (0 where an error came inside a stream).

    `code` is the provider's own name for it, `retry_delay` a hint from the body such as "17s". The key never
    stands in the message.
    """
    text = f"{provider}: {clean(message, secret) or 'no message'}"
    told = f"{code} {message}"
    hint = retry_hint(headers or {}, retry_delay, time.time() if now is None else now)
    if status in (401, 403) or _BAD_KEY.search(told):
        return UnauthenticatedError(
            f"{text} (HTTP {status}): check the key", reason="BAD_KEY", metadata={"status": str(status)}
        )
    if status == 402 or (status in (0, 400, 429) and _QUOTA.search(told)):
        return ResourceExhaustedError(text, reason="QUOTA_EXHAUSTED", retry_after=hint)
    if status == 429 or code in ("rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED"):
        return ResourceExhaustedError(text, reason="RATE_LIMITED", retry_after=hint)
    if status == 404:
        return NotFoundError(f"{text} (HTTP 404): check --model and --base-url", reason="UNKNOWN_MODEL")
    if status == 413 or (status in (0, 400, 422, 500) and _OVERFLOW.search(told)):
        return InvalidArgumentError(text, field="conversation", reason="CONTEXT_OVERFLOW")
    if status == 408:
        return DeadlineExceededError(text, reason="PROVIDER_TIMEOUT", retry_after=hint)
    if status >= 500 or status == 409 or code in ("overloaded_error", "api_error", "server_error"):
        return UnavailableError(f"{text} (HTTP {status})", reason="PROVIDER_UNAVAILABLE", retry_after=hint)
    if status == 0:
        return UnavailableError(text, reason="PROVIDER_UNAVAILABLE", retry_after=hint)
    return InvalidArgumentError(f"{text} (HTTP {status})", reason="BAD_REQUEST")


def retry_hint(headers: Mapping[str, str], retry_delay: str, now: float) -> float | None:
    """Seconds to wait as the server asks, from its body or headers; None where it does not say.

    A date is read against the server's own, if it names one: the clock here may be wrong.
    """
    found = _DELAY.match(retry_delay.strip())
    if found:
        return float(found[1])
    lower = {name.lower(): value.strip() for name, value in headers.items()}
    with contextlib.suppress(KeyError, ValueError):
        return max(0.0, float(lower["retry-after-ms"]) / 1000)
    value = lower.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(TypeError, ValueError):
        until = email.utils.parsedate_to_datetime(value).timestamp()
        with contextlib.suppress(TypeError, ValueError):
            now = email.utils.parsedate_to_datetime(lower.get("date", "")).timestamp()
        return max(0.0, until - now)
    return None


def clean(message: str, secret: str = "") -> str:
    """One printable line of at most 300 characters, without the key."""
    text = message.replace(secret, "***") if secret else message
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def cut_off(provider: str) -> UnavailableError:
    """The error for a stream that ended before the model had finished."""
    return UnavailableError(
        f"{provider}: the answer broke off before its end; if each does, check --base-url",
        reason="PROVIDER_UNAVAILABLE",
    )


def not_understood(provider: str, error: Exception) -> UnavailableError:
    """The error for an answer that is not in the provider's own format."""
    return UnavailableError(
        f"{provider}: the answer is not in the API's format ({type(error).__name__}); check --base-url",
        reason="PROVIDER_UNAVAILABLE",
    )


def transport_fault(
    provider: str, error: Exception, idle_seconds: float, secret: str = ""
) -> ServiceError | None:
    """The error for what the HTTP library under an SDK raised; None where something else did.

    The SDKs wrap only what comes before a stream's first byte, and each brings another library.
    """
    name = type(error).__name__
    if type(error).__module__.partition(".")[0] not in _TRANSPORTS and not isinstance(error, OSError):
        return None
    if "Timeout" in name:
        return timed_out(provider, idle_seconds)
    if any(
        word in name for word in ("Payload", "Protocol", "ReadError", "Disconnected", "Reset", "Decoding")
    ):
        return cut_off(provider)
    return unreachable(provider, error, secret)


def unreachable(provider: str, error: Exception, secret: str = "") -> UnavailableError:
    cause = error.__cause__ or error
    return UnavailableError(
        f"{provider}: cannot be reached: {clean(str(cause) or type(cause).__name__, secret)}",
        reason="PROVIDER_UNAVAILABLE",
    )


def timed_out(provider: str, seconds: float) -> DeadlineExceededError:
    return DeadlineExceededError(f"{provider}: no answer within {seconds:g} s", reason="PROVIDER_TIMEOUT")


@asynccontextmanager
async def answering(
    provider: str, request_seconds: float, idle_seconds: float, secret: str
) -> AsyncIterator[None]:
    """Around one call of an SDK: bounded, and with our errors for what is none of the SDK's own.

    Those the caller turns into ours inside. Raises DeadlineExceededError and UnavailableError.
    """
    try:
        async with asyncio.timeout(request_seconds):
            try:
                yield
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise not_understood(provider, error) from error
            except Exception as error:
                known = transport_fault(provider, error, idle_seconds, secret)
                if known is None:
                    raise
                raise known from error
    except TimeoutError as error:
        raise timed_out(provider, request_seconds) from error
