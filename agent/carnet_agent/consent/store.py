"""What the owner allows, on disk: the grant set as it came, what may never fall, and what stands beside the grants.

Law 2: a set is compiled from its signed documents at every start, nothing compiled is stored. Law 3: a narrowing is
committed here before anything else is done about it, and no older set is ever taken again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import MappingProxyType

from carnet import canonical
from carnet.consent import CompiledSet, Floors, Grant, Head, OwnerKeys, compile_set, parse_grant_set
from carnet.errors import RemoteError
from carnet.ids import ID_BYTES, RECORD, parse_id
from carnet.keyset import KeySet
from carnet.ledger.merkle import EMPTY, TreeHead
from carnet.limits import INFLATED_BYTES_MAX
from carnet.narrowing import Ceiling, Mode
from carnet_agent.buffer.sealed import Sealed, parsed
from carnet_agent.buffer.tables import PRAGMAS, THOROUGH, finds_nothing
from carnet_agent.buffer.transaction import transaction
from carnet_agent.ceilings import NOTHING, document_of, stored
from carnet_agent.floor import Floor

APPLICATION_ID = 0x43524E47  # "CRNG"
VERSION = 1
HANDLE_BYTES = 8
_TABLES = ("meta", "head", "ended", "handle")


def configure(connection: sqlite3.Connection) -> None:
    """Set every pragma and make the tables if new."""
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"pragma {pragma}")
    if connection.execute("pragma user_version").fetchone()[0] != VERSION:
        _create(connection)


def check(connection: sqlite3.Connection) -> bool:
    """Whether this is an intact consent database of this program or an empty file."""
    application, version = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if (application, version) not in {(0, 0), (APPLICATION_ID, VERSION)}:
        return False
    return all(finds_nothing(connection, look) for look in THOROUGH)


class GrantStore:
    """Over a configured connection (`configure`); nobody else has the file open. Every change is one transaction."""

    def __init__(self, connection: sqlite3.Connection, owner: OwnerKeys, random: Callable[[int], bytes]) -> None:
        """``owner``: vehicle, epoch and keys pinned on the unit. Another tenure in the file is forgotten whole."""
        self._db = connection
        self._random = random
        tenure = f"{owner.vehicle}/{owner.epoch}".encode()
        before = self._meta("tenure")
        self.tenure_ended = before not in {None, tenure}
        """The file was of another owner: the caller wipes the buffer, then calls `begin_tenure`."""
        self._tenure = tenure
        self._owner = owner
        self.compiled: CompiledSet | None = None
        self.floors = Floors()
        """What may never fall."""
        self.floor = Floor()
        """The floor under the time, as it was last kept."""
        self.log_head = EMPTY
        """The largest head of the cloud's log that was shown."""
        if not self.tenure_ended:
            self.begin_tenure()

    def begin_tenure(self) -> None:
        """Forget what is of another owner and read what is of this one."""
        if self._meta("tenure") != self._tenure:
            with self._transaction():
                for table in _TABLES:
                    self._db.execute("delete from " + table)
                self._set_meta("tenure", self._tenure)
            self._db.execute("pragma wal_checkpoint(truncate)").fetchone()
        self.floor = self._read_floor()
        root = self._meta("log_root")
        self.log_head = EMPTY if root is None else TreeHead(self._number("log_size"), root)
        tokens = self._meta("owner_tokens")
        if tokens is not None:
            added = canonical.parse(tokens, INFLATED_BYTES_MAX)
            assert isinstance(added, list)
            self._owner = self._owner.with_tokens(tuple(str(token) for token in added))
        self._recompile()

    def close(self) -> None:
        self._db.close()

    # grants

    @property
    def epoch(self) -> int:
        return self._owner.epoch

    @property
    def generation(self) -> int:
        """Of the set in force; 0 before the first."""
        return self.floors.generation

    @property
    def grants(self) -> tuple[Grant, ...]:
        """The grants of the set in force, in any state."""
        return () if self.compiled is None else self.compiled.grants

    def apply(self, data: bytes) -> CompiledSet:
        """Take a grant set; any RemoteError of `parse_grant_set` and `compile_set` refuses it and changes nothing."""
        if self.compiled is not None and data == self._meta("grant_set"):
            return self.compiled
        compiled = compile_set(parse_grant_set(data), self._owner, self.floors)
        with self._transaction():
            self._set_meta("grant_set", data)
            self._set_meta("owner_tokens", canonical.encode(list(compiled.owner.tokens)))
            self._write_floors(compiled.floors)
        self.compiled, self._owner, self.floors = compiled, compiled.owner, compiled.floors
        return compiled

    def forget_ended(self, earliest_ms: int) -> None:
        """Drop ended records that nothing can bring back."""
        pruned = self.floors.pruned(earliest_ms)
        if len(pruned.ended) < len(self.floors.ended):
            with self._transaction():
                self._write_floors(pruned)
            self.floors = pruned

    # handles

    def handle_of(self, records: tuple[bytes, ...]) -> bytes:
        """The handle that stands for these records (ten bytes each, ascending) in the buffer; made if new."""
        key = b"".join(records)
        row = self._db.execute("select handle from handle where records = ?", (key,)).fetchone()
        if row is not None:
            return bytes(row[0])
        handle = self._random(HANDLE_BYTES)
        with self._transaction():
            self._db.execute("insert into handle values (?, ?)", (handle, key))
        return handle

    def records_of(self, handle: bytes) -> tuple[bytes, ...]:
        """The records that a handle stands for; empty if it is not known."""
        row = self._db.execute("select records from handle where handle = ?", (handle,)).fetchone()
        key = bytes(row[0]) if row else b""
        return tuple(key[at : at + ID_BYTES] for at in range(0, len(key), ID_BYTES))

    def living(self, earliest_ms: int) -> frozenset[bytes]:
        """Records that have not ended, neither by an event nor, surely, by time; ten bytes each."""
        heads = self.floors.heads
        return frozenset(parse_id(name, RECORD) for name, head in heads.items() if head.expires_ms > earliest_ms)

    def dead_handles(self, living: frozenset[bytes]) -> set[bytes]:
        """Handles whose records have all ended; a box of theirs may still be somewhere."""
        known = [bytes(row[0]) for row in self._db.execute("select handle from handle order by handle")]
        return {one for one in known if not living.intersection(self.records_of(one))}

    def forget_handles(
        self, gone: set[bytes], sealed: Sequence[tuple[Sealed, tuple[bytes, ...]]] = (), before_day: str = ""
    ) -> None:
        """Drop handles that no box names any more; ``sealed`` of them is kept, and nothing of a day before then."""
        old = [one for one, _ in self.kept_sealed() if "" < one.day < before_day]
        if not gone and not old:
            return
        with self._transaction():
            for one, records in sealed:
                value = _bytes(one.boxes) + _bytes(one.samples) + b"".join(records)
                self._set_meta(f"sealed {one.day} {one.handle.hex()}", value)
            names = [(f"sealed {one.day} {one.handle.hex()}",) for one in old]
            self._db.executemany("delete from meta where name = ?", names)
            self._db.executemany("delete from handle where handle = ?", [(one,) for one in sorted(gone)])

    def kept_sealed(self) -> list[tuple[Sealed, tuple[bytes, ...]]]:
        """What was sealed under handles that are gone, with their records (ten bytes each)."""
        query = "select cast(name as blob), value from meta where name glob 'sealed *' order by name"
        found = []
        for name, value in self._db.execute(query):
            one = parsed(name, value)
            if one is not None:
                found.append((one, tuple(value[at : at + ID_BYTES] for at in range(16, len(value), ID_BYTES))))
        return found

    # beside the grants

    @property
    def mode(self) -> Mode:
        """What the driver has set."""
        return Mode((self._meta("mode") or b"normal").decode())

    def set_mode(self, mode: Mode) -> None:
        self._put(mode=mode.encode())

    @property
    def has_mode(self) -> bool:
        """Whether anybody has ever set a mode."""
        return self._meta("mode") is not None

    def allow_nothing(self) -> None:
        """Mode and ceiling as narrow as they can be, in one step."""
        self._put(mode=Mode.OFF.encode(), ceiling=_ceiling_bytes(NOTHING))

    @property
    def ceiling(self) -> Ceiling:
        """What was set at the car; everything if nothing was."""
        return stored(self._meta("ceiling"))

    def set_ceiling(self, ceiling: Ceiling | None) -> None:
        """None: nothing is set any more."""
        self._put(ceiling=b"" if ceiling is None else _ceiling_bytes(ceiling))

    def key_set(self, pinned: KeySet) -> KeySet:
        """The newest of the cloud's key sets, ``pinned`` being the one of the pairing."""
        data = self._meta("key_set")
        stored = None if data is None else KeySet.parse(data)
        return stored if stored is not None and stored.replaces(pinned.version) else pinned

    def set_key_set(self, key_set: KeySet) -> None:
        self._put(key_set=key_set.encode())

    @property
    def untimed_ms(self) -> int:
        """Powered-on time since the unit last knew the time."""
        return self._number("untimed_ms")

    def set_floor(self, floor: Floor) -> None:
        """The time is known: the floor rises, and powered-on time counts from zero again."""
        risen = replace(floor, firm_ms=max(floor.firm_ms, self.floor.firm_ms))
        self._put(
            time_floor_ms=_bytes(risen.firm_ms),
            time_word_ms=_bytes(floor.word_ms),
            floor_boot_id=floor.boot_id,
            floor_boot_ms=_bytes(floor.boot_ms),
            floor_jump_ms=_bytes(floor.jump_ms),
            untimed_ms=_bytes(0),
        )
        self.floor = risen

    def set_untimed(self, untimed_ms: int) -> None:
        self._put(untimed_ms=_bytes(untimed_ms))

    @property
    def boots(self) -> int:
        """Starts of the agent with this file."""
        return self._number("boots")

    def count_boot(self) -> None:
        self._put(boots=_bytes(self.boots + 1))

    # the log of the cloud

    @property
    def log_word(self) -> bytes:
        """The signed message that told it."""
        return self._meta("log_word") or b""

    def set_log(self, head: TreeHead, word: bytes) -> None:
        """A head that was shown to contain all before it."""
        self._put(log_size=_bytes(head.size), log_root=head.root, log_word=word)
        self.log_head = head

    @property
    def log_evidence(self) -> list[bytes]:
        """What contradicted it, in the order in which it came."""
        rows = self._db.execute("select value from meta where name glob 'log_evidence_*' order by name")
        return [bytes(row[0]) for row in rows]

    def add_log_evidence(self, evidence: bytes) -> None:
        self._put(**{f"log_evidence_{len(self.log_evidence):03}": evidence})

    # inside

    def _read_floor(self) -> Floor:
        names = ("time_floor_ms", "time_word_ms", "floor_boot_ms", "floor_jump_ms")
        firm_ms, word_ms, boot_ms, jump_ms = (self._number(name) for name in names)
        boot_id = self._meta("floor_boot_id")
        if boot_id is None:
            return Floor(firm_ms, max(firm_ms, word_ms))
        return Floor(firm_ms, max(firm_ms, word_ms), boot_id, boot_ms, jump_ms)

    def _recompile(self) -> None:
        """The stored set again, from its documents; one that is refused now leaves no grant at all."""
        self.floors = self._read_floors()
        data = self._meta("grant_set")
        self.compiled = None
        if data is None:
            return
        try:
            self.compiled = compile_set(parse_grant_set(data), self._owner, self.floors)
        except RemoteError:
            # nothing is collected until a set comes that holds; its floors stay
            self.compiled = None

    def _read_floors(self) -> Floors:
        heads = self._db.execute("select record, event_seq, hash, expires_ms from head order by record")
        ended = self._db.execute("select record, expires_ms from ended order by record")
        return Floors(
            self._number("generation"),
            (self._meta("set_hash") or b"").decode(),
            MappingProxyType({row[0]: Head(*row[1:]) for row in heads}),
            MappingProxyType(dict(ended.fetchall())),
        )

    def _write_floors(self, floors: Floors) -> None:
        self._set_meta("generation", _bytes(floors.generation))
        self._set_meta("set_hash", floors.set_hash.encode())
        self._db.execute("delete from head")
        self._db.execute("delete from ended")
        heads = [(name, head.event_seq, head.hash, head.expires_ms) for name, head in sorted(floors.heads.items())]
        self._db.executemany("insert into head values (?, ?, ?, ?)", heads)
        self._db.executemany("insert into ended values (?, ?)", sorted(floors.ended.items()))

    def _put(self, **values: bytes) -> None:
        with self._transaction():
            for name, value in values.items():
                self._set_meta(name, value)

    def _number(self, name: str) -> int:
        return int.from_bytes(self._meta(name) or b"", "big")

    def _meta(self, name: str) -> bytes | None:
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def _set_meta(self, name: str, value: bytes) -> None:
        self._db.execute("insert or replace into meta values (?, ?)", (name, value))

    def _transaction(self) -> AbstractContextManager[None]:
        return transaction(self._db)


def _ceiling_bytes(ceiling: Ceiling) -> bytes:
    return json.dumps(document_of(ceiling)).encode()


def _bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _create(connection: sqlite3.Connection) -> None:
    # imported here: the warm path never needs it, and it is a tenth of a second and ten megabytes
    import sqlite_utils

    db = sqlite_utils.Database(connection)
    with db.atomic():
        db.table("meta").create({"name": str, "value": bytes}, pk="name")
        db.table("head").create({"record": str, "event_seq": int, "hash": str, "expires_ms": int}, pk="record")
        db.table("ended").create({"record": str, "expires_ms": int}, pk="record")
        db.table("handle").create({"handle": bytes, "records": bytes}, pk="handle")
        db.table("handle").create_index(["records"], unique=True)
        # with the tables: a power cut between would leave a file that no start could tell from a damaged one
        db.execute(f"pragma application_id={APPLICATION_ID}")
        db.execute(f"pragma user_version={VERSION}")
