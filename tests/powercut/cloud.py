"""The story of a cloud: its keys, store, journal of narrowings, wrapping keys and a recipient's file, on one disk.

Law 5: what was acknowledged is there, and what was forwarded is not forwarded again as another event. Law 3: a
narrowing that has returned stands whatever is left of the store. Law 4: a wrapping key that was destroyed is gone, and
what lives can be opened.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carnet.ids import format_id, parse_id
from carnet_cloud.forward import Clocks, Forwarder
from carnet_cloud.recipients import JsonLines
from carnet_cloud.running import keyfolder
from carnet_cloud.running.keeper import finish_sales
from carnet_cloud.store import SqliteStore
from tests import consentkit as kit
from tests.cloud.kit import NOW_MS, Cloud, Unit
from tests.powercut.story import Facts, Say, tell, values

PAUSED = format_id("rec_", b"the paused")
RECORDS = (kit.RECORD_ID, PAUSED)
BACKUP = "backup.db"
SENT = 6
"""Envelopes of the unit, its schema among them."""


def work(folder: Path, say: Say) -> None:
    public = keyfolder.make(folder / "keys", random.Random(1).randbytes).read_bytes()
    say({"keys": public.hex()})
    cloud, unit = start(folder, 1), Unit()
    cloud.enrol(unit)
    tokens = [give(cloud, say, record) for record in RECORDS]
    messages = envelopes(unit)
    receive(cloud, say, messages[:4])
    forward(cloud, folder, say)
    rotate(cloud, folder, say)
    receive(cloud, say, messages[4:])
    cloud.store.copy_to(folder / BACKUP)
    say({"backup": True})
    for record, token, kind in zip(RECORDS, tokens, ("withdraw", "pause"), strict=True):
        say({"narrowing": record})
        cloud.consents.event(kit.event(kind, [token], cloud.clock.ms, record=record), record)
        say({"narrowed": record})
    rotate(cloud, folder, say)


def start(folder: Path, seed: int) -> Cloud:
    """As the service does, up to the first message; ``seed`` of what is random, another one at every start."""
    path = folder / "store.db"
    is_new = not path.exists()
    store = SqliteStore.open(path, incarnation=b"i" * 16, now_ms=NOW_MS)
    cloud = Cloud(folder, store=store, new_store=is_new, seed=seed, fsync=os.fsync)
    cloud.consents.replay_journal()
    cloud.consents.finish_endings()
    finish_sales(cloud.store, cloud.consents)
    return cloud


def give(cloud: Cloud, say: Say, record: str) -> str:
    token = cloud.give(id=record)
    say({"given": record})
    return token


def envelopes(unit: Unit) -> list[bytes]:
    """The same at every call of a new unit."""
    names = tuple(sorted(RECORDS, key=lambda record: parse_id(record, "rec_")))
    return [unit.schema(), *(unit.data(records=names) for _ in range(SENT - 1))]


def receive(cloud: Cloud, say: Say, messages: list[bytes]) -> None:
    acks = Unit().acks(cloud.send(*messages))
    say({"acknowledged": max(last for ack in acks for _, last in ack.ranges), "queued": queued(cloud)})


def queued(cloud: Cloud) -> list[str]:
    """Every event of which the store knows, whatever became of it."""
    with cloud.store.transaction() as t:
        return sorted(each.event_id.hex() for record in RECORDS for each in t.outbox.deliveries(record))


def forward(cloud: Cloud, folder: Path, say: Say) -> None:
    """Everything that is due, to a file."""
    lines = JsonLines(folder / "events.jsonl")
    clocks = Clocks(cloud.clock.now_ms, cloud.clock.monotonic_ms, lambda: 0.0)
    sender = Forwarder(
        cloud.store, {kit.RECIPIENT: lines}, cloud.wrapping, cloud.leases, cloud.book.may_send, clocks, b"sender01"
    )
    while sender.step(kit.RECIPIENT):
        pass
    lines.close()
    say({"confirmed": confirmed(cloud)})


def confirmed(cloud: Cloud) -> list[str]:
    with cloud.store.transaction() as t:
        told = [each for record in RECORDS for each in t.outbox.deliveries(record)]
    return sorted(each.event_id.hex() for each in told if each.outcome == "confirmed")


def rotate(cloud: Cloud, folder: Path, say: Say) -> None:
    (old,) = (folder / "wrapping").glob("*.key")
    secret = old.read_bytes()
    cloud.wrapping.rotate(cloud.store, cloud.clock.ms)
    cloud.store.scrub()
    say({"destroyed key": secret.hex()})


def check(folder: Path, said: Iterable[Facts]) -> None:
    said = list(said)
    for secret in map(bytes.fromhex, values(said, "destroyed key")):
        assert all(secret not in path.read_bytes() for path in files(folder)), "a destroyed key is back"
    for public in values(said, "keys"):
        assert keyfolder.read(folder / "keys").keys.public.encode().hex() == public
    with running(folder, 2) as cloud:
        require_consents(cloud, said)
        require_kept(cloud, said)
        require_silence(cloud, said)
        require_once(cloud, folder, said)
    if values(said, "backup"):
        restore(folder)
        with running(folder, 3) as cloud:
            require_silence(cloud, said)


@contextmanager
def running(folder: Path, seed: int) -> Iterator[Cloud]:
    cloud = start(folder, seed)
    try:
        yield cloud
    finally:
        cloud.store.close()


def restore(folder: Path) -> None:
    """The store as it was before anybody narrowed anything; journal and keys are where they were."""
    for path in folder.glob("store.db*"):
        path.unlink()
    shutil.copy(folder / BACKUP, folder / "store.db")


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def require_consents(cloud: Cloud, said: list[Facts]) -> None:
    with cloud.store.transaction() as t:
        for record in values(said, "given"):
            assert t.consents.record(record) is not None, "a yes that was answered is gone"
        for record in set(values(said, "given")) - set(values(said, "narrowing")):
            assert cloud.book.may_send(t, record, NOW_MS), "a yes was silenced by a power cut"


def require_kept(cloud: Cloud, said: list[Facts]) -> None:
    """What was acknowledged is not asked for again, and its events are those that there were."""
    assert set(queued(cloud)) >= {each for events in values(said, "queued") for each in events}
    acknowledged = max(values(said, "acknowledged"), default=0)
    with cloud.store.transaction() as t:
        stream = t.streams.get(Unit().device, Unit().stream)
    assert stream.watermark >= acknowledged
    assert set(confirmed(cloud)) >= {each for events in values(said, "confirmed") for each in events}


def require_silence(cloud: Cloud, said: list[Facts]) -> None:
    for record in values(said, "narrowed"):
        with cloud.store.transaction() as t:
            assert not cloud.book.may_send(t, record, NOW_MS), "a narrowing that had returned is undone"
            assert not [each for each in t.outbox_keys.all() if each[0] == record]
        assert not cloud.ask(f"select 1 from outbox where record = '{record}' and payload is not null")


def require_once(cloud: Cloud, folder: Path, said: list[Facts]) -> None:
    """The unit sends everything again; each event has one line, and those of records that nobody narrowed all have."""
    if len(values(said, "given")) < len(RECORDS):
        return
    cloud.send(*envelopes(Unit()))
    cloud.clock.ms += 60_000
    forward(cloud, folder, lambda _: None)
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    names: list[Any] = [line["id"] for line in lines]
    assert len(names) == len(set(names)), "an event has two lines"
    assert set(names) >= set(confirmed(cloud)), "a confirmed event is in no line"
    if not values(said, "narrowing"):
        assert len(names) == (SENT - 1) * len(RECORDS)


if __name__ == "__main__":
    tell(work)
