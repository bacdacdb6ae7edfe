"""The page on consent says what the code does: states, reasons of refusal, blocks, modes and bounds."""

from __future__ import annotations

import re

from carnet import grantsets, offers, ownerkeys, recordevents
from carnet.consent import BlockReason, Mode
from tests.carnet.consent_tables import PAGE, documented_reasons, page_with, raised_reasons, states_section


def test_states_are_drawn_from_the_table() -> None:
    """Diagram and table are what `consent_tables` writes from `carnet.states`."""
    assert PAGE.read_text() == page_with(states_section())


def test_every_reason_is_documented_once_and_every_documented_one_exists() -> None:
    """Nobody is refused for a reason that cannot be looked up."""
    documented = documented_reasons()
    assert len(documented) == len(set(documented))
    assert set(documented) == raised_reasons()


def test_blocks_and_modes_are_documented_in_their_order() -> None:
    """The tables of what wins are complete."""
    section = PAGE.read_text().split("\n## What wins\n")[1].split("\n## ")[0]
    first_column = re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    blocks = [reason.value for reason in BlockReason]
    assert first_column[: len(blocks)] == blocks
    assert sorted(first_column[len(blocks) :]) == sorted(mode.value for mode in Mode)


def test_bounds_are_those_of_the_code() -> None:
    """Numbers on the page are not from memory."""
    page = PAGE.read_text()
    for sentence in (
        f"At most {offers.OFFER_BYTES_MAX:,} bytes.",
        f"| `items` | 1 to {offers.ITEMS_MAX}, below |",
        f"| `when` | 0 to {offers.CONDITIONS_MAX} conditions",
        f"words, at most {offers.TEXT_BYTES_MAX:,} bytes",
        f"| `retention_days` | 1 to {offers.RETENTION_DAYS_MAX:,}:",
        f"| `valid_days` | 1 to {offers.VALID_DAYS_MAX}:",
        f"| `replay_ms` | 0 to {offers.REPLAY_MS_MAX:,}:",
        f"At most {recordevents.EVENTS_MAX} events; none after {recordevents.WIDENING_SEQ_MAX} may widen",
        f"at most {recordevents.OPERATOR_EVENT_BYTES_MAX:,} bytes) |",
        f"| `keys` | 1 to {ownerkeys.PINNED_MAX} pinned keys",
        f"| `added` | up to {ownerkeys.TOKENS_MAX} tokens",
        f"| `records` | up to {grantsets.RECORDS_MAX}:",
        f"| `ended` | up to {grantsets.ENDED_MAX:,}:",
    ):
        assert sentence in page, sentence
