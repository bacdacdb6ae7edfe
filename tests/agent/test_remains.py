"""What was put aside of a damaged buffer dies with the first consent that ends: it cannot be taken apart box by box."""

from __future__ import annotations

from pathlib import Path

import pytest

from carnet.consent import Mode
from carnet.envelope import parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet_agent.buffer.remains import Remains
from tests import consentkit as kit
from tests.agent.agentkit import Rig, answer, bodies, grants, record

RECEIPT = EnvelopeType.DESTRUCTION_RECEIPT


@pytest.fixture
def remains(tmp_path: Path) -> list[Path]:
    """A database and its log, put aside."""
    files = [tmp_path / "buffer.db.quarantine.1", tmp_path / "buffer.db.quarantine.1-wal"]
    for each in files:
        each.write_bytes(b"sealed boxes of everybody")
    return files


@pytest.fixture
def rig(remains: list[Path]) -> Rig:
    """A unit with a grant, whose buffer was damaged after it had collected."""
    rig = Rig(kit.GIVEN_MS + kit.DAY_MS)
    rig.start()
    rig.grant(grants(1))
    rig.pass_time(61_000)
    rig.buffer_db.executescript("delete from row; delete from box; delete from checkpoint")
    rig.discard_remains = Remains(remains[0].with_name("buffer.db")).discard
    rig.start()
    return rig


def are_there(remains: list[Path]) -> bool:
    assert len({each.exists() for each in remains}) == 1
    return remains[0].exists()


def test_they_stay_while_everything_in_them_still_belongs_to_somebody(rig: Rig, remains: list[Path]) -> None:
    """A pause or the driver's mode ends no consent."""
    rig.grant(grants(2, "pause"))
    rig.do(rig.agent.set_mode(Mode.OFF, rig.moment()))
    rig.pass_time(61_000)
    rig.start()
    assert are_there(remains)


def test_a_withdrawal_deletes_them_even_if_the_buffer_has_nothing_to_destroy(rig: Rig, remains: list[Path]) -> None:
    assert rig.agent._buffer.handles() == set()
    rig.grant(grants(2, "withdraw"))
    assert not are_there(remains)


def test_the_end_of_one_consent_deletes_them_though_another_lives(rig: Rig, remains: list[Path]) -> None:
    """What was collected for the ended one alone is in there, among what still belongs to the other."""
    other = record(id=kit.OTHER_RECORD_ID)
    rig.grant(kit.grant_set(2, record(), other))
    assert are_there(remains)
    rig.grant(kit.grant_set(3, record("withdraw"), other))
    assert not are_there(remains)


def test_the_end_of_a_consent_by_the_clock_deletes_them(rig: Rig, remains: list[Path]) -> None:
    rig.synchronised = True
    rig.boot_ms += kit.GIVEN_MS + 30 * kit.DAY_MS - rig.wall_ms - 1_000
    rig.pass_time(500, frames=False)
    assert are_there(remains)
    rig.pass_time(120_000, frames=False)
    assert not are_there(remains)


def test_no_receipt_is_signed_while_they_are_there(rig: Rig, remains: list[Path]) -> None:
    """A receipt says that nothing is left; with a disk that deletes nothing it has to wait."""
    rig.pass_time(61_000)
    discard = rig.discard_remains

    def refused() -> None:
        raise PermissionError

    rig.agent._buffer.discard_remains = refused
    with pytest.raises(PermissionError):
        rig.grant(grants(2, "withdraw"))
    assert are_there(remains) and receipts(rig) == 0
    rig.discard_remains = discard
    rig.start()
    assert not are_there(remains) and receipts(rig) == 1


def test_a_unit_that_lost_its_consents_keeps_nothing(rig: Rig, remains: list[Path]) -> None:
    """Boxes that nobody can be told to have agreed to are nobody's."""
    rig.consent_db.executescript("delete from head; delete from handle; delete from meta where name = 'grant_set'")
    rig.start()
    assert not are_there(remains)


def test_a_sale_deletes_them(rig: Rig, remains: list[Path]) -> None:
    rig.consent_db.execute("update meta set value = ? where name = 'tenure'", (b"another/1",))
    rig.start()
    assert not are_there(remains)


def receipts(rig: Rig) -> int:
    """Receipts in the stream, told to the cloud in a new contact."""
    rig.connect(False)
    rig.connect()
    check_in = rig.take()[-1]
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    return len(bodies([parse_envelope(each) for each in rig.take()], RECEIPT))
