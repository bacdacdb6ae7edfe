"""The story of a car: its buffer and its consents, through everything that writes to them.

Law 5: what a call had written when it returned is there, once, and no number goes without a trace. Law 3: what was
destroyed with a receipt does not come back, and a narrowing stays.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from carnet.consent import encode_grant_set
from carnet.envelope import parse_envelope, verify
from carnet.envelopetype import EnvelopeType
from carnet.narrowing import Mode
from carnet.note import DestructionReason
from carnet_agent.buffer import Buffer, NewBox, Priority, open_buffer
from carnet_agent.buffer.gaps import gaps
from carnet_agent.consent.file import open_consents
from carnet_agent.consent.store import GrantStore
from carnet_agent.floor import Floor
from tests import consentkit as kit
from tests.agent.test_buffer import DEVICE, KEY, Lid, box, checkpoint
from tests.powercut.story import Facts, Say, tell, values

BUFFER_BYTES = 64 * 4096
LARGE = 12_000
ENDED = b"e" * 8
"""The handle whose grants end."""


def work(folder: Path, say: Say) -> None:
    buffer, consents = start(folder)
    say({"stream": buffer.stream.hex()})
    allow(consents, say)
    secret = box(random.Random(1).randbytes(600), handle=ENDED)
    fill(buffer, say, secret)
    end(buffer, say, secret)
    overflow(buffer, say)
    consents.set_mode(Mode.OFF)
    say({"mode": "off"})
    say({"new stream": True})
    buffer.new_stream()
    say({"stream": buffer.stream.hex()})
    row(buffer, say, box())


def start(folder: Path) -> tuple[Buffer, GrantStore]:
    """As the agent does."""
    source = random.Random(3).randbytes
    consents, damaged = open_consents(folder / "consent.db", kit.OWNER, source)
    assert not damaged, "a power cut is no corruption"
    opened = open_buffer(folder / "buffer.db", DEVICE, KEY, source, BUFFER_BYTES)
    assert not opened.quarantined, "a power cut is no corruption"
    return opened.buffer, consents


def allow(consents: GrantStore, say: Say) -> None:
    for generation in (1, 2):
        consents.apply(encode_grant_set(kit.grant_set(generation, kit.documents())))
        say({"generation": generation})
    consents.set_floor(Floor(kit.GIVEN_MS))
    say({"time floor": kit.GIVEN_MS})


def row(buffer: Buffer, say: Say, *boxes: NewBox, priority: Priority = Priority.BACKGROUND) -> None:
    seq = buffer.add(EnvelopeType.DATA, priority, b"c" * 8, boxes)
    say({"row": [seq, (buffer.manifest(buffer.stream, seq) or b"").hex()]})


def fill(buffer: Buffer, say: Say, secret: NewBox) -> None:
    """A few windows, with checkpoints before the last one, and acknowledgements of the first."""
    for _ in range(3):
        row(buffer, say, box())
    row(buffer, say, secret, box(handle=b"o" * 8, index=1))
    for cut in (b"1" * 8, b"2" * 8):
        buffer.checkpoint([checkpoint(box(b"k" * 900), cut=cut)])
        say({"checkpoint": cut.hex()})
    say({"window": True})
    new = checkpoint(box(b"n" * 3000), cut=b"n" * 8)
    (seq,) = buffer.add_all([new], replaces=[Priority.LIVE], schemas={b"z" * 16: b"document"})
    say({"row": [seq, (buffer.manifest(buffer.stream, seq) or b"").hex()]})
    say({"may go": [1, 2]})
    buffer.acknowledge(buffer.stream, [(1, 2)])
    buffer.write_acknowledged()
    buffer.offer()
    say({"offered": buffer.last_seq})


def end(buffer: Buffer, say: Say, secret: NewBox) -> None:
    """A grant ends on the car, with a receipt; and the cloud will never take one of the rows."""
    buffer.checkpoint([checkpoint(box(b"k" * 500, handle=ENDED), cut=b"3" * 8, priority=Priority.EVENT)])
    buffer.destroy([ENDED], 2, DestructionReason.ENDED)
    say({"destroyed": ENDED.hex()})
    assert buffer.add_receipt_row(Lid())
    say({"receipt": secret.box[64:192].hex()})
    buffer.reject(buffer.stream, 3, buffer.manifest(buffer.stream, 3) or b"", "refused")
    say({"may go": [3, 3]})
    buffer.add_gap_row(Lid())


def overflow(buffer: Buffer, say: Say) -> None:
    """More rows than there is room for: the oldest go, named."""
    for _ in range(20):
        row(buffer, say, box(b"x" * LARGE))


def check(folder: Path, said: Iterable[Facts]) -> None:
    said = list(said)
    buffer, consents = start(folder)
    with closing(buffer._db), closing(consents._db):
        require_narrow(consents, said)
        require_rows(buffer, said)
        require_destroyed(folder, buffer, said)
        require_checkpoints(buffer, said)
        require_goes_on(buffer, said)


def require_narrow(consents: GrantStore, said: list[Facts]) -> None:
    assert consents.generation >= max(values(said, "generation"), default=0)
    assert consents.floor.firm_ms >= max(values(said, "time floor"), default=0)
    if values(said, "mode"):
        assert consents.mode is Mode.OFF


def require_rows(buffer: Buffer, said: list[Facts]) -> None:
    """What was said is there, and the chain of what is there has no break but a named one."""
    said = of_this_stream(buffer, said)
    stored = buffer._db.execute(
        "select seq, manifest, envelope from row where stream = ? order by seq", (buffer.stream,)
    )
    rows = {seq: (manifest, parse_envelope(envelope)) for seq, manifest, envelope in stored}
    for seq, (manifest, envelope) in rows.items():
        verify(envelope, KEY.public)
        assert envelope.manifest_hash == manifest
        assert seq - 1 not in rows or envelope.header.prev == rows[seq - 1][0]
    named = [(lost.first, lost.last) for lost in gaps(buffer._db, 1000)] + values(said, "may go")
    for seq, manifest in values(said, "row"):
        assert seq <= buffer.last_seq, "its number would be used again"
        is_named = any(first <= seq <= last for first, last in named)
        assert is_named or (seq in rows and rows[seq][0].hex() == manifest), f"row {seq} was said and is gone"
    missing = set(range(1, buffer.last_seq + 1)) - set(rows)
    reported = (
        {3} if buffer._db.execute("select 1 from row where type = ?", (int(EnvelopeType.GAP),)).fetchone() else set()
    )
    assert all(any(first <= seq <= last for first, last in named) for seq in missing - reported), "gone without a trace"


def of_this_stream(buffer: Buffer, said: list[Facts]) -> list[Facts]:
    """What was said of the stream that a start finds open; nothing if it was begun as the power went."""
    begun = {"stream": buffer.stream.hex()}
    if begun in said:
        said = said[said.index(begun) :]
        assert len(values(said, "stream")) == 1, "an older stream is open again"
        return said
    assert values(said, "stream") == [] or said[-1] == {"new stream": True}
    return []


def require_destroyed(folder: Path, buffer: Buffer, said: list[Facts]) -> None:
    """Neither named nor, once the receipt was signed, anywhere in a file."""
    for handle in values(said, "destroyed"):
        assert bytes.fromhex(handle) not in buffer.handles()
    for piece in map(bytes.fromhex, values(said, "receipt")):
        assert all(piece not in path.read_bytes() for path in sorted(folder.iterdir())), "a destroyed box is back"


def require_checkpoints(buffer: Buffer, said: list[Facts]) -> None:
    """Until the window's row begins to be written."""
    if not values(said, "window"):
        cuts = {bytes(found[0]).hex() for found in buffer._db.execute("select cut from checkpoint")}
        assert set(values(said, "checkpoint")) <= cuts


def require_goes_on(buffer: Buffer, said: list[Facts]) -> None:
    """The next row has a new number, whatever the cut made of the last one."""
    promised = max(values(of_this_stream(buffer, said), "offered"), default=0)
    buffer.promote()
    last = buffer.last_seq
    assert last >= promised
    assert buffer.add(EnvelopeType.DATA, Priority.EVENT, b"c" * 8, [box()]) == last + 1


if __name__ == "__main__":
    tell(work)
