"""Public keys of transparency logs, as somebody types them: the key itself, or a file of such, each on a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from carnet.errors import ConfigError, FormatError
from carnet.keys import KEY_FILE_HEAD
from carnet.ledger.signednote import NoteKey, parse_note_key

NOT_PUBLIC: Final = (
    "--checkpoint-key: {} is a secret key, which belongs to the cloud alone: the public key is wanted, as "
    "`carnet owner receipts` writes it to checkpoint.key"
)


def parse_given(texts: Iterable[str]) -> tuple[NoteKey, ...]:
    """Every key that was given; ConfigError ``checkpoint_key``."""
    return tuple(key for text in texts for key in _keys_in(text))


def _keys_in(text: str) -> list[NoteKey]:
    try:
        lines = [text] if "+" in text else Path(text).read_text(encoding="utf-8").split() or [""]
        if lines[0] == KEY_FILE_HEAD:
            raise ConfigError("checkpoint_key", NOT_PUBLIC.format(text))
        return [parse_note_key(line) for line in lines]
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError("checkpoint_key", f"--checkpoint-key: {text} is neither a key nor a file of one") from e
    except FormatError as e:
        raise ConfigError("checkpoint_key", f"--checkpoint-key: {e}") from e
