"""From settings to the parts of the daemon that need more than one line."""

from __future__ import annotations

from memoryd.dreams.dream import DreamSettings
from memoryd.dreams.resonance import Resonance
from memoryd.engine import EngineSettings
from memoryd.entropy_feed import EntropydFeed, EntropyFeed, FirstFeed, LocalFeed, RadioFeed
from memoryd.settings import MemorydSettings
from services.entropy_client import EntropyClient
from services.security import ClientSecurity, read_secret


def engine_settings(settings: MemorydSettings) -> EngineSettings:
    return EngineSettings(
        resonance=Resonance(settings.resonance),
        agent_name=settings.name,
        dream=DreamSettings(
            settings.edge_anchor_count,
            settings.edge_explorer_count,
            settings.edge_max_per_dream,
            settings.fade_archived,
        ),
        tick_seconds=settings.clock_tick_seconds,
        threshold_bytes=settings.dream_threshold_bytes,
    )


def build_feed(settings: MemorydSettings) -> FirstFeed:
    """entropyd first, then a radio, then the system, as far as each is asked for."""
    feeds: list[EntropyFeed] = []
    if settings.entropy:
        token = read_secret(settings.entropy_token_file, "--entropy-token-file")
        security = ClientSecurity(token=token, ca=settings.entropy_ca)
        feeds.append(EntropydFeed(EntropyClient(settings.entropy, security=security, timeout=2.0)))
    if settings.radio_url:
        feeds.append(RadioFeed(settings.radio_url))
    if settings.local_entropy:
        feeds.append(LocalFeed())
    return FirstFeed(*feeds)
