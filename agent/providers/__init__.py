"""Language models behind the official SDKs, each imported only when it is chosen."""

from __future__ import annotations

from agent.provider import Provider
from services.errors import InvalidArgumentError, UnauthenticatedError, UnsupportedError

# Used when no --model is given; any other name a provider knows may be given.
DEFAULT_MODELS = {
    "anthropic": "claude-sonnet-4-20250514",
    "openai": "gpt-4o",
    "gemini": "gemini-2.0-flash",
}
KEY_VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
}
PACKAGES = {"anthropic": "anthropic", "openai": "openai", "gemini": "google-genai"}
REQUEST_SECONDS = 600.0
IDLE_SECONDS = 120.0


def open_provider(
    name: str,
    *,
    model: str = "",
    key: str | None = None,
    base_url: str = "",
    request_seconds: float = REQUEST_SECONDS,
    idle_seconds: float = IDLE_SECONDS,
) -> Provider:
    """The provider of that name. `base_url` is a server that speaks the same API; openai's needs no key.

    `request_seconds` bounds a whole answer, `idle_seconds` the wait for its next piece. Raises
    InvalidArgumentError (UNKNOWN_PROVIDER, MODEL_REQUIRED), UnauthenticatedError (NO_KEY) and
    UnsupportedError (NOT_INSTALLED) when the SDK is not installed.
    """
    if name not in DEFAULT_MODELS:
        raise InvalidArgumentError(
            f"provider: {name!r} is not one of {', '.join(DEFAULT_MODELS)}",
            field="provider",
            reason="UNKNOWN_PROVIDER",
        )
    if base_url and not model:
        raise InvalidArgumentError(
            f"model: name the model that {base_url} should use, with --model",
            field="model",
            reason="MODEL_REQUIRED",
        )
    if not key and not (name == "openai" and base_url):
        raise UnauthenticatedError(
            f"provider: {name} needs a key: set {KEY_VARIABLES[name]}, or use --provider search",
            reason="NO_KEY",
        )
    model = model or DEFAULT_MODELS[name]
    try:
        match name:
            case "anthropic":
                from agent.providers.anthropic import AnthropicProvider

                return AnthropicProvider(model, key or "", base_url, request_seconds, idle_seconds)
            case "openai":
                from agent.providers.openai import OpenAIProvider

                return OpenAIProvider(model, key or "", base_url, request_seconds, idle_seconds)
            case _:
                from agent.providers.gemini import GeminiProvider

                return GeminiProvider(model, key or "", base_url, request_seconds, idle_seconds)
    except ImportError as error:
        raise UnsupportedError(
            f"provider: {name} needs its SDK, which is not installed beside agentd: "
            f"`uv pip install {PACKAGES[name]}`, or install autoresearch-stack[{name}]",
            reason="NOT_INSTALLED",
        ) from error
