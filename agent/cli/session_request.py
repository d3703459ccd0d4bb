"""The flags of `run` as a StartSessionRequest. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from autoresearch.agent.v1 import agent_pb2 as pb

from agent.lab.workspace import check_tag
from services.errors import ConfigurationError

DEFAULT_ADDITIONAL = 6
PROVIDERS = ("auto", "search", "scripted", "hybrid", "anthropic", "openai", "gemini")


@dataclass(frozen=True)
class SessionOptions:
    """What a person asked of a session; None and "" mean the default."""

    lab: str
    tag: str
    provider: str = "auto"
    model: str = ""
    base_url: str = ""
    script: str = ""
    max_experiments: int | None = None
    preset: str = ""
    time_budget: float | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_hours: float | None = None
    max_device_seconds: float | None = None
    manual: bool = False
    unsafe: bool = False


def session_request(options: SessionOptions) -> pb.StartSessionRequest:
    """Raises ConfigurationError that names the flag, its value and the way out."""
    if options.provider not in PROVIDERS:
        raise ConfigurationError(f"--provider: {options.provider!r} is not one of {', '.join(PROVIDERS)}")
    check_tag(options.tag)
    if options.provider == "scripted" and not options.script and not options.manual:
        raise ConfigurationError("--provider scripted needs --script FILE with the drafts")
    if options.script and options.provider != "scripted":
        raise ConfigurationError(f"--script belongs to --provider scripted, not to {options.provider}")
    if options.base_url and not options.base_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"--base-url: {options.base_url!r} must begin with http:// or https://")
    request = pb.StartSessionRequest(
        lab=options.lab,
        tag=options.tag,
        provider=options.provider,
        model=options.model,
        base_url=options.base_url,
        script=options.script,
        preset=options.preset,
        manual=options.manual,
        unsafe=options.unsafe,
        limits=pb.Limits(
            max_cost_usd=options.max_cost_usd,
            max_tokens=options.max_tokens,
            max_hours=options.max_hours,
            max_device_seconds=options.max_device_seconds,
        ),
    )
    if options.time_budget is not None:
        request.time_budget.FromMilliseconds(round(options.time_budget * 1000))
    if options.max_experiments is not None:
        request.max_experiments = options.max_experiments
    elif not options.manual:
        request.additional_experiments = DEFAULT_ADDITIONAL
    return request


def resume_request(request: pb.StartSessionRequest, proposal_count: int) -> pb.StartSessionRequest:
    """The same session with its goal as a fixed number, so that asking again does not ask for more.

    `proposal_count` is the number of proposals when the session was first started.
    """
    fixed = pb.StartSessionRequest()
    fixed.CopyFrom(request)
    if fixed.HasField("additional_experiments"):
        fixed.max_experiments = proposal_count + fixed.additional_experiments
        fixed.ClearField("additional_experiments")
    return fixed
