"""The parser of every command of ours: what is wrong with a command line is one sentence, never the whole usage."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import NoReturn

from carnet.errors import FormatError

DIGITS_MAX = 20


def having_form(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A ``type=`` of argparse: the argument as it was typed, if ``parse`` does not refuse its form."""

    def take(text: str) -> str:
        try:
            parse(text)
        except FormatError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text

    return take


def whole(smallest: int, largest: int) -> Callable[[str], int]:
    """A ``type=`` of argparse: a whole number of this range."""

    def take(text: str) -> int:
        # the length first: converting a million digits takes seconds
        if len(text) <= DIGITS_MAX and text.isascii() and text.removeprefix("-").isdigit():
            number = int(text)
            if smallest <= number <= largest:
                return number
        raise argparse.ArgumentTypeError(f"write a whole number from {smallest} to {largest}")

    return take


def formed(pattern: str, form: str) -> Callable[[str], str]:
    """A ``type=`` of argparse: a text that ``pattern`` matches as a whole; ``form`` tells it in words."""

    def take(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise argparse.ArgumentTypeError(f"write {form}")
        return text

    return take


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser`, its subcommands too, whose errors are one sentence and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")
