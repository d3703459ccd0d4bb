"""From settings to the parts of the daemon that need more than one line."""

from __future__ import annotations

from urllib.parse import urlsplit

from memoryd.dreams.dream import DreamSettings
from memoryd.dreams.resonance import Resonance
from memoryd.engine import EngineSettings
from memoryd.entropy_feed import EntropydFeed, EntropyFeed, FirstFeed, LocalFeed, RadioFeed
from memoryd.settings import MemorydSettings
from services.addresses import parse_address
from services.entropy_client import EntropyClient
from services.errors import ConfigurationError
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
    """entropyd first, then a radio, then the system, as far as each is asked for.

    Raises ConfigurationError for addresses and certificates that could never be used.
    """
    feeds: list[EntropyFeed] = []
    if settings.entropy:
        address = parse_address(settings.entropy, name="--entropy")
        feeds.append(
            EntropydFeed(EntropyClient(str(address), security=entropy_security(settings), timeout=2.0))
        )
    if settings.radio_url:
        if not urlsplit(settings.radio_url).hostname or not settings.radio_url.startswith("http"):
            raise ConfigurationError(f"--radio-url: {settings.radio_url!r} is not http://HOST:PORT")
        feeds.append(RadioFeed(settings.radio_url, settings.https_trust()))
    if settings.local_entropy:
        feeds.append(LocalFeed())
    return FirstFeed(*feeds)


def entropy_security(settings: MemorydSettings) -> ClientSecurity:
    """What memoryd shows to entropyd."""
    pair = (settings.entropy_cert, settings.entropy_key)
    if any(pair) and not (all(pair) and settings.entropy_ca):
        raise ConfigurationError(
            "--entropy-cert, --entropy-key and --entropy-ca belong together: give all three"
        )
    token = read_secret(settings.entropy_token_file, "--entropy-token-file")
    return ClientSecurity(token, settings.entropy_ca, *pair)
