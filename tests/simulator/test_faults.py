"""Faults on the simulated bus: each does exactly what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from carnet.checksums import crc8
from carnet.errors import ConfigError
from carnet_simulator.block import Block
from carnet_simulator.dbcs import demo_databases
from carnet_simulator.faults import Faults
from carnet_simulator.frames import drive

DATABASES = demo_databases()
PROTECTED = (0x100, 0x104, 0x120, 0x140)


def frames(faults: Faults) -> Block:
    return drive(DATABASES, 2, faults=faults).frames_until(4000)


CLEAN = frames(Faults())


def checksum_holds(block: Block) -> NDArray[np.bool_]:
    rows = np.flatnonzero(np.isin(block.can_id, PROTECTED))
    last = block.payload[rows, 7]
    holds: NDArray[np.bool_] = crc8(block.can_id[rows], block.payload[rows], block.length[rows]) == last
    return holds


def test_dropped_frames_are_missing() -> None:
    """About as many as asked, none of the others changed."""
    block = frames(Faults(drop=0.1))
    assert len(block) == pytest.approx(0.9 * len(CLEAN), rel=0.03)
    assert set(block.time_ns.tolist()) < set(CLEAN.time_ns.tolist())
    assert len(frames(Faults(drop=1.0))) == 0


def test_doubled_frames_come_twice_at_the_same_time() -> None:
    """Byte for byte."""
    block = frames(Faults(duplicate=1.0))
    assert len(block) == 2 * len(CLEAN)
    assert (block.payload[::2] == block.payload[1::2]).all() and (block.time_ns[::2] == CLEAN.time_ns).all()


def test_a_spoilt_checksum_spoils_nothing_else() -> None:
    """Only messages that have one are touched."""
    block = frames(Faults(corrupt=1.0))
    assert not checksum_holds(block).any()
    assert (block.payload[:, :7] == CLEAN.payload[:, :7]).all()
    others = ~np.isin(block.can_id, PROTECTED)
    assert (block.payload[others] == CLEAN.payload[others]).all()


def test_a_stuck_counter_stands_still_under_a_right_checksum() -> None:
    """Otherwise the checksum would find it first."""
    block = frames(Faults(stuck=1.0))
    assert set((block.payload[block.can_id == 0x100, 6] & 0x0F).tolist()) == {0}
    assert checksum_holds(block).all()


def test_a_short_frame_has_half_its_bytes_and_zeros_behind() -> None:
    """A reader that ignores the length would read zeros as readings."""
    block = frames(Faults(short=1.0))
    assert (block.length == CLEAN.length // 2).all()
    beyond = np.arange(8) >= block.length[:, np.newaxis]
    assert not block.payload[beyond].any()
    assert (block.payload[~beyond] == CLEAN.payload[~beyond]).all()


def test_not_available_is_the_code_of_the_dbc() -> None:
    """With counter and checksum as ever."""
    block = frames(Faults(not_available=1.0))
    assert (block.payload[block.can_id == 0x120, :2] == 0xFF).all()
    assert checksum_holds(block).all()


def test_faults_are_read_from_the_command_line() -> None:
    """Name and probability."""
    assert Faults.parse(["drop=0.5", "not_available=1"]) == Faults(drop=0.5, not_available=1.0)
    assert not Faults.parse([]) and Faults.parse(["stuck=0.1"])


@pytest.mark.parametrize(
    "text, reason",
    [
        ("fire=1", "fault_unknown"),
        ("drop", "fault_probability"),
        ("drop=2", "fault_probability"),
        ("drop=x", "fault_probability"),
    ],
)
def test_any_other_fault_is_refused(text: str, reason: str) -> None:
    """With a sentence that shows the form."""
    with pytest.raises(ConfigError) as refusal:
        Faults.parse([text])
    assert refusal.value.reason == reason
