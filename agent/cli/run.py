"""`autoresearch run`: starts or resumes a research session and follows it to its end."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import options as shared
from agent.cli.console import print_note
from agent.cli.remembered_flags import remember_flags, without_password
from agent.cli.same_command import Commands, flags_again
from agent.cli.session_request import SessionOptions, session_request
from services.errors import ConfigurationError


def run(
    provider: Annotated[
        str,
        typer.Option(
            help="Who proposes: auto (a language model if a key and --max-cost-usd are given, else search), "
            "search, scripted, hybrid, anthropic, openai or gemini."
        ),
    ] = "auto",
    model: Annotated[str, typer.Option(help="Model name as the provider spells it.")] = "",
    base_url: Annotated[
        str,
        typer.Option("--base-url", help="OpenAI-compatible server (Ollama, vLLM, llama.cpp); no key needed."),
    ] = "",
    script: Annotated[str, typer.Option(help="File of drafts for --provider scripted.")] = "",
    tag: shared.Tag = shared.DEFAULT_TAG,
    max_experiments: Annotated[
        int | None,
        typer.Option(min=0, help="Proposals in the tag's lifetime; default: six more than there are."),
    ] = None,
    lab: shared.Lab = shared.DEFAULT_LAB,
    data: shared.Data = None,
    preset: shared.Preset = "",
    time_budget: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=1.0, help="Training time of a run, instead of the preset's budget."
        ),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of a memoryd, http://… of a ferricula-compatible server, sqlite:///PATH, "
            "postgresql://… or none; default: the lab's own store."
        ),
    ] = "",
    trainer: Annotated[str, typer.Option(metavar="HOST:PORT", help="A trainerd that runs already.")] = "",
    entropy: Annotated[str, typer.Option(metavar="HOST:PORT", help="An entropyd that runs already.")] = "",
    entropy_source: Annotated[
        str,
        typer.Option(
            help="Source of the lab's own entropyd: auto, os:, file:PATH, rtl_tcp://…, "
            "rtlsdr:, or http://HOST:PORT of an sdr-rand."
        ),
    ] = "auto",
    executor: Annotated[
        str, typer.Option(help="Executor of the lab's own trainerd: local or scripted.")
    ] = "local",
    max_cost_usd: Annotated[
        float | None, typer.Option(min=0.0, help="Stop before this many dollars.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Stop before this many tokens.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0.0, help="Stop after this many hours.")] = None,
    max_device_seconds: Annotated[
        float | None, typer.Option(min=0.0, help="Stop after this many seconds of training device.")
    ] = None,
    manual: Annotated[
        bool, typer.Option("--manual", help="Open the lab for `autoresearch call` and run no loop.")
    ] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Allow model-written code to run where no sandbox is available.")
    ] = False,
    agent: shared.Agent = "",
    token_file: shared.TokenFile = None,
    ca: shared.CaFile = None,
    cert: shared.CertFile = None,
    key: shared.KeyFile = None,
    as_json: shared.Json = False,
) -> None:
    """Run research: replicates of the baseline, then proposals, each trained, judged, kept or discarded.

    Starts the lab's daemons if they do not run, resumes where the lab stands, and ends with a table. Ctrl-C
    stops in order within five seconds; with --agent it only detaches. Exit codes: 0 the session ended as
    asked, 1 it failed, 130 interrupted; others in docs/cli.md.
    """
    wanted = SessionOptions(
        lab=lab if agent else str(Path(lab).absolute()),
        tag=tag,
        provider=provider,
        model=model,
        base_url=base_url,
        script=script if agent or not script else str(Path(script).absolute()),
        max_experiments=max_experiments,
        preset=preset,
        time_budget=time_budget,
        max_cost_usd=max_cost_usd,
        max_tokens=max_tokens,
        max_hours=max_hours,
        max_device_seconds=max_device_seconds,
        manual=manual,
        unsafe=unsafe,
    )
    request = session_request(wanted)
    from agent.cli.follow import follow_session
    from agent.cli.lab_daemons import AgentLink, open_lab, open_remote
    from agent.launch.plan import LaunchOptions, choose_memory

    choose_memory(memory, Path())  # a wrong value is named before anything is made
    security = shared.client_security(token_file, ca, cert, key)
    launch = LaunchOptions(
        lab=Path(lab).absolute(),
        data=shared.data_folder(data, lab),
        trainer=shared.checked_address(trainer, "--trainer"),
        memory=memory,
        entropy=shared.checked_address(entropy, "--entropy"),
        entropy_source=entropy_source,
        executor=executor,
        unsafe=unsafe,
    )
    if agent and (trainer or memory or entropy):
        raise ConfigurationError(
            "--trainer, --memory, --entropy: a running agentd (--agent) has its own peers"
        )

    def open_link() -> AbstractAsyncContextManager[AgentLink]:
        return open_remote(agent, security) if agent else open_lab(launch, note=print_note)

    def own_flags(memory: str) -> str:
        return flags_again(
            provider=provider,
            model=model,
            base_url=base_url,
            script=wanted.script,
            data=None if agent else launch.data,
            trainer=trainer,
            memory=memory,
            entropy=entropy,
            entropy_source=entropy_source,
            executor=executor,
            # Without it `auto` would search; any other cap is the session's own.
            max_cost_usd=max_cost_usd if provider == "auto" else None,
            manual=manual,
            unsafe=unsafe,
        )

    peer = flags_again(agent=agent, token_file=token_file, ca=ca, cert=cert, key=key)
    commands = Commands(again=peer + own_flags(memory), peer=peer)

    def remember() -> None:
        remember_flags(launch.state, tag, own_flags(without_password(memory)))

    followed = follow_session(open_link, request, commands, as_json=as_json, working=remember)
    raise typer.Exit(asyncio.run(followed))
