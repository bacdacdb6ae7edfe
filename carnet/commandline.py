"""The parser of every command of ours: what is wrong with a command line is one sentence, never the whole usage."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from carnet.errors import FormatError


def having_form(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A ``type=`` of argparse: the argument as it was typed, if ``parse`` does not refuse its form."""

    def take(text: str) -> str:
        try:
            parse(text)
        except FormatError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return take


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser`, its subcommands too, whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")
