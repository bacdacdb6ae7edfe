"""The process in which one target is fuzzed: ``python -m tests.fuzz.child TARGET FOLDER [libFuzzer's options]``.

The folder takes corpus, dictionary, and whatever breaks the law. libFuzzer ends the process itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import atheris  # type: ignore[import-untyped]

from tests.fuzz.guard import Guard
from tests.fuzz.target import instrumented, load

WORDS_MAX: Final = 500


def main(name: str, folder: Path, options: list[str]) -> None:
    """Fuzz until the options say that it is enough, or the law is broken."""
    with atheris.instrument_imports(include=instrumented(name)):
        target = load(name)
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    inputs = target.inputs()
    for number, data in enumerate(inputs):
        (corpus / f"seed-{number:04}").write_bytes(data)
    (folder / "words").write_text("".join(words(inputs)))
    for data in inputs:
        target.check(data)
    guard = Guard(target.memory_bytes_max)
    guard.forget()
    arguments = [name, f"-dict={folder / 'words'}", f"-artifact_prefix={folder}/", f"-max_len={target.size_max}"]
    atheris.Setup([*arguments, *options, str(corpus)], lambda data: guard.run(target.check, data))
    atheris.Fuzz()


def words(inputs: Iterable[bytes]) -> list[str]:
    """A dictionary for libFuzzer: names and numbers that the seeds hold."""
    found = {word: None for data in inputs for word in re.findall(rb'"?[A-Za-z_]{3,20}"?|[0-9]{3,20}', data)}
    return ['"{}"\n'.format("".join(f"\\x{octet:02x}" for octet in word)) for word in list(found)[:WORDS_MAX]]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
