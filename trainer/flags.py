"""The flags of a verb: what is wrong with one is a line that names it, not a page of usage."""

from __future__ import annotations

import argparse
from typing import NoReturn

from services.errors import ConfigurationError


class FlagParser(argparse.ArgumentParser):
    """Raises ConfigurationError where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message.removeprefix('argument ')}; see {self.prog} --help")
