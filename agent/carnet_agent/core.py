"""The agent's core: frames, messages and ticks in, effects out. It owns no socket, thread, clock, file or randomness.

Law 2: what is collected is what the owner's pinned keys signed for, narrowed by mode and ceiling, widened by nobody.
Law 3: a narrowing is on disk, and its frames are no longer read, before anything else happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from carnet.ack import Ack
from carnet.consent import Ceiling, Mode, State
from carnet.down import DownMessage, GrantSetMessage, Refusal, SchemaRequest, open_down
from carnet.errors import Error
from carnet.growth import Growth
from carnet.keyset import KeySet
from carnet_agent.buffer import Buffer, DiskFailed
from carnet_agent.ceilings import document_of
from carnet_agent.clock import Clock
from carnet_agent.collecting import Collecting
from carnet_agent.consent.store import GrantStore
from carnet_agent.consent.untimed import Untimed
from carnet_agent.effects import Effect, Identifiers, Note, SetIdentifiers
from carnet_agent.following import Following
from carnet_agent.frames import Frames
from carnet_agent.moment import Moment
from carnet_agent.operating import Operating
from carnet_agent.sending.contact import RETRY_FIRST_MS, Contact
from carnet_agent.sending.outgoing import Outgoing
from carnet_agent.sending.sealer import Sealer
from carnet_agent.sending.unitledger import sealed_for
from carnet_agent.sending.window import ALL, Window
from carnet_agent.unit import Unit

NONCE_BYTES: Final = 16
HEALTH_MS: Final = 900_000
RECONCILE_MS: Final = 60_000
FLOOR_MS: Final = 600_000
"""How far the time floor on disk may lie behind: more than that of powered-on time no power cut takes back."""


class Agent:
    """One unit. One thread; every call takes the moment and gives the effects, in the order to do them in.

    ``identifiers`` tells for plan signals which frames to read; ``random`` gives random bytes.
    """

    def __init__(
        self,
        unit: Unit,
        buffer: Buffer,
        store: GrantStore,
        collector: Collecting,
        identifiers: Callable[[NDArray[np.int32]], Identifiers],
        random: Callable[[int], bytes],
    ) -> None:
        self._unit = unit
        self._buffer = buffer
        self._store = store
        self._collector = collector
        self._identifiers = identifiers
        self._random = random
        self._clock = Clock(store.floor)
        sealer = Sealer(unit.device, unit.sign, random, store.handle_of)
        self._out = Outgoing(buffer, sealer, store, self._clock, store.key_set(unit.cloud))
        self._contact = Contact()
        self._log = Following(store)
        self._operating = Operating(unit.voltage_min)
        self._untimed = Untimed(store, unit.untimed_ms_max)
        self._window = Window(0)
        self._counters: Counter[str] = Counter()
        self._in_force: tuple[str, ...] = ()
        self._unfinished = False
        """A change of the grants was broken off by a disk that failed; the next tick begins it again."""
        self._read: Identifiers | None = None
        self._told_generation = 0
        self._acknowledged_ms = 0
        self._next_health_ms = 0
        self._next_reconcile_ms = 0

    # what happens

    def on_start(self, moment: Moment) -> list[Effect]:
        """Once, before anything else: end what has ended, promote what a crash left, begin to read."""
        if self._store.tenure_ended:
            # in this order: a crash in between comes here again
            self._buffer.wipe()
            self._store.begin_tenure()
            self._clock.floor = self._store.floor
        self._store.count_boot()
        self._learn_time(moment)
        self._untimed.begin(moment, known=self._clock.interval(moment) is not None)
        self._counters["boxes_promoted"] += self._buffer.promote()
        self._window = Window(moment.boot_ms)
        self._acknowledged_ms = moment.boot_ms
        self._next_health_ms = moment.boot_ms + HEALTH_MS
        return self._regrant(moment)

    def on_frames(self, frames: Frames, moment: Moment) -> list[Effect]:
        """A drained block, in the order of capture; all that was captured before ``moment`` is in."""
        self._collector.feed_frames(frames)
        return self._work(moment)

    def on_tick(self, moment: Moment) -> list[Effect]:
        """Several times a second, after the buses were drained."""
        self._learn_time(moment)
        effects: list[Effect] = []
        if self._untimed.passed(moment, known=self._clock.interval(moment) is not None):
            self._counters["untimed_charges"] += 1
        if self._unfinished or self._now_in_force(moment) != self._in_force:
            effects += self._regrant(moment)
        elif self._out.dying or moment.boot_ms >= self._next_reconcile_ms:
            self._reconcile(moment)
        return effects + self._work(moment)

    def on_connection(self, up: bool, moment: Moment) -> list[Effect]:
        """The broker has come or gone; whatever was on its way is forgotten."""
        self._out.anew()
        if up:
            self._contact.up(moment.boot_ms)
        else:
            self._contact.down()
        self._counters["connections"] += up
        return self._work(moment)

    def on_down(self, payload: bytes, moment: Moment) -> list[Effect]:
        """A message of the cloud, or of somebody who says so; what is refused is counted and does nothing else."""
        effects: list[Effect] = []
        try:
            message = open_down(payload, self._unit.device, self._out.cloud.signing_keys, self._unit.receive)
            effects += self._take(message, payload, moment)
        except Error as error:
            self._counters[f"down_{error.reason}"] += 1
        return effects + self._work(moment)

    def set_mode(self, mode: Mode, moment: Moment) -> list[Effect]:
        """The driver has chosen; takes effect before this returns and is kept over starts."""
        if mode is self._store.mode:
            return []
        self._store.set_mode(mode)
        self._contact.hurry(moment.boot_ms)
        return self._regrant(moment) + self._work(moment)

    @property
    def ceiling(self) -> Ceiling:
        """Of the configuration, and under it what was set at the car."""
        return self._unit.ceiling.under(self._store.ceiling)

    def set_ceiling(self, ceiling: Ceiling | None, moment: Moment) -> list[Effect]:
        """Somebody at the car has lowered it, or with None says that the configuration's is enough; as `set_mode`."""
        self._store.set_ceiling(ceiling)
        return self._regrant(moment) + self._work(moment)

    def flush(self, reason: str, moment: Moment) -> list[Effect]:
        """Write the open windows now: ``stop``, ``ignition_off``, ``under_voltage``. After ``stop`` nothing comes."""
        stop = reason == "stop"
        self._out.window(self._collector.cut(moment.boot_ms, ending=stop), ALL, moment)
        self._window.closed(ALL, moment.boot_ms)
        self._counters[f"flush_{reason}"] += 1
        if stop:
            self._buffer.write_acknowledged()
            self._keep_floor(moment, 0)
        return self._publish(moment)

    def status(self) -> dict[str, object]:
        """For ``carnet-agent status``: states, ids of records and counters; no reading."""
        return {
            "connected": self._contact.connected,
            "contact": self._contact.fresh,
            "epoch": self._store.epoch,
            "generation": self._store.generation,
            "mode": self._store.mode.value,
            "ceiling": document_of(self.ceiling),
            "grants": [
                {"record": grant.record_id, "recipient": grant.recipient, "state": grant.state.value}
                for grant in self._store.grants
            ],
            "in_force": list(self._in_force),
            "log": self._log.status(),
            "blocked": Counter(reason for _, _, reason in self._collector.blocked),
            "stream": self._buffer.stream.hex(),
            "last_seq": self._buffer.last_seq,
            "samples_pending": self._collector.samples_pending,
            "acknowledged_boot_ms": self._acknowledged_ms,
            "counters": self.counters(),
        }

    def ledger(self) -> list[dict[str, object]]:
        """For ``carnet-agent ledger``: what was sealed for whom."""
        return sealed_for(self._buffer, self._store)

    def counters(self) -> dict[str, int]:
        """Everything that is counted, by names that a health report may have."""
        found = Counter(self._counters) + self._out.counters + self._log.counters
        found.update({f"dropped_{reason}": count for reason, count in self._collector.dropped.items()})
        found.update(self._buffer.counts())
        found["clock_refused"] = self._clock.refused
        found["boots"] = self._store.boots
        return dict(sorted(found.items()))

    # what the cloud says

    def _take(self, message: DownMessage, payload: bytes, moment: Moment) -> list[Effect]:
        if isinstance(message, Ack):
            return self._acknowledged(message, payload, moment)
        if isinstance(message, Growth | Refusal):
            return self._log.grown(message, payload) if isinstance(message, Growth) else self._refused(message)
        if isinstance(message, GrantSetMessage):
            return self._granted(message.grant_set, moment)
        if isinstance(message, KeySet):
            self._new_keys(message)
        elif isinstance(message, SchemaRequest):
            self._out.schemas(message.hashes, moment)
        return []

    def _acknowledged(self, ack: Ack, payload: bytes, moment: Moment) -> list[Effect]:
        """Free what it names; if it answers our last check-in, find out what the cloud has and what time it is."""
        if not self._buffer.knows(ack.stream):
            ack.require_stream(self._buffer.stream)
        effects: list[Effect] = []
        asked_ms = self._contact.answered(ack, moment.boot_ms) if ack.stream == self._buffer.asking else None
        if asked_ms is not None:
            self._clock.learn_answer(asked_ms, ack.server_ms, moment)
            self._tell_time(moment)
            self._keep_floor(moment, FLOOR_MS)
            effects += self._compare(ack, moment)
        if self._contact.fresh and self._buffer.knows(ack.stream):
            # before a fresh answer an old acknowledgement could name numbers that a restored unit uses again
            freed = self._buffer.acknowledge(ack.stream, ack.ranges)
            self._out.sender.settled(freed)
            self._counters["rows_acknowledged"] += len(freed)
            self._acknowledged_ms = moment.boot_ms if freed else self._acknowledged_ms
            self._out.stirred = True
        return effects + self._log.told(ack, payload, fresh=asked_ms is not None)

    def _compare(self, ack: Ack, moment: Moment) -> list[Effect]:
        """Whether the cloud has more or other than we (a restored card, a lying disk), or less (a restored cloud)."""
        if ack.stream != self._buffer.stream:
            # a saved one; the next is asked for, and our own last. Should the disk fail, this one is asked for again
            self._contact.up(moment.boot_ms + RETRY_FIRST_MS)
            self._counters["samples_rolled_back"] += self._buffer.unproven.settle(ack)
            self._contact.hurry(moment.boot_ms)
            return []
        # what has a number beyond all that was ever offered was sent by a life that the disk forgot
        if ack.known > self._buffer.offered[0] or self._buffer.differs(ack):
            self._counters["rolled_back"] += 1
            self._counters["samples_rolled_back"] += self._buffer.new_stream()
            self._out.sender.forget()
            self._contact.up(moment.boot_ms)
            text = "the cloud has other envelopes of this stream than we: a new stream begins"
            return [Note("warning", text, "stream_begun")]
        self._buffer.offer()
        self._counters["rows_reopened"] += self._buffer.reopen(ack.stream, ack.watermark)
        self._out.sender.again(moment.boot_ms)
        return []

    def _refused(self, refusal: Refusal) -> list[Effect]:
        number = self._buffer.reject(refusal.stream, refusal.seq, refusal.manifest_hash, "refused")
        if number is None:
            self._counters["refusals_unknown"] += 1
            return []
        self._out.sender.settled([number])
        self._out.stirred = True
        self._counters[f"refused_{refusal.reason}"[:64]] += 1
        text = f"the cloud refused an envelope for good: {refusal.reason}"
        return [Note("warning", text, "envelope_refused", refusal.reason)]

    def _granted(self, data: bytes, moment: Moment) -> list[Effect]:
        """A grant set: on disk first, then in force."""
        before = self._store.floors
        compiled = self._store.apply(data)
        for refused in compiled.refused:
            self._counters[f"grant_{refused.reason}"[:64]] += 1
        if compiled.generation != self._told_generation:
            # the cloud repeats the set until a check-in names it
            self._contact.hurry(moment.boot_ms)
        return self._regrant(moment, before.generation) if compiled.floors.set_hash != before.set_hash else []

    def _new_keys(self, key_set: KeySet) -> None:
        if not key_set.replaces(self._out.cloud.version):
            self._counters["down_key_set_not_newer"] += 1
            return
        self._store.set_key_set(key_set)
        self._out.cloud = key_set

    # grants in force

    def _regrant(self, moment: Moment, generation: int | None = None) -> list[Effect]:
        """Collect for what is in force now; windows of the set before are sealed with its ``generation``."""
        self._clock.learn_system(moment)
        known = self._clock.interval(moment)
        self._unfinished, self._in_force = True, self._now_in_force(moment)
        # without the time the record ids decide, with it the collector looks at each grant's times itself
        grants = [grant for grant in self._store.grants if known or grant.record_id in self._in_force]
        cuts = self._collector.set_grants(
            grants, self._store.mode, self.ceiling, moment.boot_ms, now_ms=known[1] if known else None
        )
        read = self._identifiers(self._collector.wanted)
        effects: list[Effect] = [] if read == self._read else [SetIdentifiers(read)]
        self._out.window(self._out.living(cuts, moment), ALL, moment, generation)
        self._window.closed(ALL, moment.boot_ms)
        self._reconcile(moment)
        # only now, so that a disk that fails in between takes no effect with it
        self._read, self._unfinished = read, False
        return effects

    def _now_in_force(self, moment: Moment) -> tuple[str, ...]:
        """Ids of the records that allow something now, as far as the unit knows what time it is."""
        known = self._clock.interval(moment)
        if known is not None:
            return tuple(grant.record_id for grant in self._store.grants if grant.allows(known[1]))
        if self._untimed.is_over:
            return ()
        floor_ms = self._clock.earliest_ms(moment)
        return tuple(
            grant.record_id
            for grant in self._store.grants
            if grant.state is State.GIVEN and floor_ms < grant.expires_ms
        )

    def _reconcile(self, moment: Moment) -> None:
        self._next_reconcile_ms = moment.boot_ms + RECONCILE_MS
        self._out.destroy_dead(moment)
        if self._clock.interval(moment) is not None:
            # by the floor: what one word far ahead made us forget could be given back by the next one
            self._store.forget_ended(self._clock.floor.at(moment).firm_ms)

    # time

    def _learn_time(self, moment: Moment) -> None:
        self._clock.learn_system(moment)
        gnss_ms = self._operating.new_time_ms(self._collector.operating)
        if gnss_ms is not None:
            self._clock.learn_gnss(gnss_ms, moment)
        self._keep_floor(moment, FLOOR_MS)

    def _tell_time(self, moment: Moment) -> None:
        """The cloud holds what was sealed without the time until it hears our clock: let it hear soon, or ask again if
        the answer took too long to tell. Not at once: rows that are on their way would be sent twice.
        """
        if self._out.untimed:
            self._out.untimed = self._clock.interval(moment) is None
            self._contact.hurry(moment.boot_ms + RETRY_FIRST_MS)

    def _keep_floor(self, moment: Moment, behind_ms: int) -> None:
        """Keep on disk how late it is, if the floor there lies so far behind or ahead, or untimed days were counted."""
        if self._clock.interval(moment) is None:
            return
        self._clock.settle(moment, max((grant.given_ms for grant in self._store.grants), default=0))
        floor, kept = self._clock.floor.at(moment), self._store.floor
        rise_ms = max(floor.firm_ms - kept.firm_ms, abs(floor.word_ms - kept.word_ms))
        if rise_ms > behind_ms or self._store.untimed_ms:
            try:
                self._store.set_floor(floor)
            except DiskFailed:
                # what lies in the buffer can still be read and sent
                self._counters["floors_disk"] += 1

    # windows and sending

    def _work(self, moment: Moment) -> list[Effect]:
        effects: list[Effect] = []
        reason = self._operating.flush_reason(self._collector.operating)
        if reason is not None:
            effects += self.flush(reason, moment)
        due = self._window.due(moment.boot_ms, self._collector.bytes_estimate, event=self._collector.event_ready)
        if due:
            self._out.window(self._collector.cut(moment.boot_ms, due), due, moment)
            self._window.closed(due, moment.boot_ms)
        if self._window.checkpoint_due(moment.boot_ms):
            self._out.checkpoint(self._collector.since_checkpoint(moment.boot_ms), moment)
            self._window.checkpointed(moment.boot_ms)
        return effects + self._out.losses() + self._publish(moment)

    def _publish(self, moment: Moment) -> list[Effect]:
        if not self._contact.connected:
            return []
        effects: list[Effect] = []
        if self._contact.due(moment.boot_ms):
            nonce = self._random(NONCE_BYTES)
            self._contact.asked(nonce, moment.boot_ms)
            self._log.asked()
            self._told_generation = self._store.generation
            effects.append(self._out.check_in(nonce, moment))
        if not self._contact.fresh:
            return effects
        if moment.boot_ms >= self._next_health_ms:
            self._next_health_ms = moment.boot_ms + HEALTH_MS
            self._out.health(self.counters(), moment)
        return [*effects, *self._out.publish(moment)]
