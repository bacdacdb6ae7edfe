"""The agent core alone: what it refuses, what it waits for, and what it never does."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from carnet.ack import Ack
from carnet.bodies import CheckIn, Gap, Health
from carnet.box import open_box
from carnet.consent import Ceiling, Documents, Mode
from carnet.down import GrantSetMessage, Refusal, SchemaRequest, seal_down, sign_ack
from carnet.envelope import Envelope, parse_envelope
from carnet.envelopetype import EnvelopeType
from carnet.keys import BoxKey, SigningKey
from carnet.keyset import KeySet, PublicKey
from carnet.signals import Category
from carnet.transforms import LATITUDE, LONGITUDE
from carnet_agent.buffer import Buffer, BufferFull
from carnet_agent.consent.untimed import CHARGE_MS
from carnet_agent.core import HEALTH_MS
from carnet_agent.effects import Identifiers, Note
from carnet_agent.floor import Floor
from tests import consentkit as kit
from tests.agent.agentkit import BUFFER_BYTES, RECEIVE, Rig, answer, bodies, grants
from tests.cloud.kit import DEVICE, KEYS, SEAL

NOW_MS = kit.GIVEN_MS + kit.DAY_MS
DATA = EnvelopeType.DATA


@pytest.fixture
def rig() -> Rig:
    rig = Rig(NOW_MS)
    rig.start()
    return rig


def contact(rig: Rig) -> list[bytes]:
    """Connect and let the cloud answer; what is published then."""
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    return rig.take()


# contact


def test_nothing_but_a_check_in_is_sent_before_the_cloud_has_answered_it(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(61_000)
    rig.connect()
    rig.pass_time(5_000)
    (check_in,) = rig.envelopes()
    assert check_in.header.seq == 0
    told = CheckIn.parse(bodies([check_in], EnvelopeType.CHECK_IN_OR_HEALTH)[0])
    # nothing was ever sent; if the cloud has a number all the same, another life of this card sent it
    assert (told.head_seq, told.key_set, told.mode) == (0, 1, "normal")


def test_an_answer_to_another_check_in_opens_nothing_and_frees_nothing(rig: Rig) -> None:
    """A recorded answer tells of another time and may name numbers that a restored card uses again."""
    rig.grant(grants())
    rig.pass_time(61_000)
    rig.connect()
    (first,) = rig.take()
    rig.pass_time(10_000)
    (second,) = rig.take()
    waiting = rig.count("rows_waiting")
    rig.hear(answer(first, server_ms=rig.wall_ms, ranges=((1, 2),)))
    assert rig.take() == []
    assert rig.count("rows_waiting") == waiting
    rig.hear(answer(second, server_ms=rig.wall_ms))
    assert rig.take()
    rig.hear(_ack(rig, [(1, 1)]))
    assert rig.count("rows_waiting") == waiting - 1


def test_sixteen_data_envelopes_wait_for_an_answer_at_the_most(rig: Rig) -> None:
    rig.grant(grants())
    for _ in range(20):
        rig.pass_time(2_000)
        rig.do(rig.agent.flush("asked", rig.moment()))
    contact(rig)
    rig.connect(False)
    payloads = contact(rig)
    sent = [each for each in _parsed(payloads) if each.header.type is DATA]
    assert len(sent) == 16
    rig.hear(_ack(rig, [(each.header.seq, each.header.seq) for each in sent[:1]]))
    assert len([each for each in rig.envelopes() if each.header.type is DATA]) == 1


def test_an_unanswered_envelope_is_sent_again_as_the_same_bytes(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(61_000)
    first = contact(rig)
    rig.pass_time(9_000, frames=False)
    assert rig.take() == []
    rig.pass_time(1_000, frames=False)
    assert [each for each in rig.take() if parse_envelope(each).header.seq] == first


def test_a_schema_goes_before_the_first_box_that_names_it(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(121_000)
    types = [each.header.type for each in sorted(_parsed(contact(rig)), key=lambda each: each.header.seq)]
    assert types[0] is EnvelopeType.SCHEMA
    assert types.count(EnvelopeType.SCHEMA) == 1
    assert types.count(DATA) >= 2


def test_a_schema_goes_first_even_if_the_first_window_closes_at_once(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(3_000)
    rig.do(rig.agent.flush("asked", rig.moment()))
    assert [each.header.type for each in _parsed(contact(rig))] == [EnvelopeType.SCHEMA, DATA]


@pytest.mark.parametrize("number", [1, 2])
def test_a_cloud_with_another_envelope_under_our_number_gets_a_new_stream(rig: Rig, number: int) -> None:
    """A restored card wrote other readings under numbers that the cloud has; the conflict is named, not sent."""
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    stream, last = rig.agent._buffer.stream, rig.agent._buffer.last_seq
    rig.connect(False)
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms, watermark=number, head=b"f" * 32))
    (again,) = rig.envelopes()
    assert again.header.seq == 0
    assert again.header.stream != stream
    told = CheckIn.parse(bodies([again], EnvelopeType.CHECK_IN_OR_HEALTH)[0])
    assert (told.head_seq, told.previous_stream) == (0, stream)
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms))
    (gap,) = (Gap.parse(body) for body in bodies(rig.envelopes(), EnvelopeType.GAP))
    assert (gap.stream, [(each.first, each.last, each.reason) for each in gap.ranges]) == (
        stream,
        [(1, last, "rolled_back")],
    )


def test_a_cloud_that_has_our_very_envelopes_gets_the_rest(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(121_000)
    stream = rig.agent._buffer.stream
    manifest = rig.agent._buffer.manifest(stream, 2)
    assert manifest is not None
    contact(rig)
    rig.connect(False)
    rig.connect()
    (check_in,) = rig.take()
    rig.hear(answer(check_in, server_ms=rig.wall_ms, watermark=2, head=manifest, ranges=((1, 2),)))
    assert [(each.header.stream, each.header.seq) for each in rig.envelopes()] == [(stream, 3)]


# what the cloud says


def test_a_message_of_a_stranger_is_counted_and_does_nothing(rig: Rig) -> None:
    """Wrong key, other device, cut off, or plain noise."""
    stranger = SigningKey.from_seed(b"x" * 32)
    message = GrantSetMessage(b"{}")
    rig.hear(seal_down(message, DEVICE, stranger, RECEIVE.public, b"s" * 32))
    rig.hear(seal_down(message, bytes(16), KEYS.sign, RECEIVE.public, b"s" * 32))
    rig.hear(seal_down(message, DEVICE, KEYS.sign, RECEIVE.public, b"s" * 32)[:-1])
    rig.hear(b"")
    rig.tell(message)
    counters = rig.agent.counters()
    assert {name: n for name, n in counters.items() if name.startswith("down_")} == {
        "down_cloud_key_unknown": 1,
        "down_down_other_device": 1,
        "down_down_size": 1,
        "down_signature_wrong": 1,
        "down_grants_malformed": 1,
    }
    assert rig.agent.status()["generation"] == 0


def test_a_record_that_no_pinned_key_signed_collects_nothing(rig: Rig) -> None:
    """Law 2, whatever the cloud says."""
    rig.grant(kit.grant_set(1, kit.documents(key=kit.OTHER_KEY)))
    rig.pass_time(61_000)
    assert rig.identifiers == {"can0": ()}
    assert rig.count("rows_waiting") == 0
    assert [n for name, n in rig.agent.counters().items() if name.startswith("grant_")] == [1]


def test_an_older_set_does_not_bring_back_what_was_withdrawn(rig: Rig) -> None:
    rig.grant(grants(1))
    rig.grant(grants(2, "withdraw"))
    assert rig.identifiers == {"can0": ()}
    rig.grant(grants(1))
    assert rig.count("down_generation_rolled_back") == 1
    assert rig.identifiers == {"can0": ()}
    rig.start()
    assert rig.identifiers == {"can0": ()}


def test_what_was_withdrawn_does_not_even_reach_the_buffer(rig: Rig) -> None:
    """The open window of a record that has ended is thrown away unsealed, and counted."""
    rig.grant(grants(1))
    rig.pass_time(5_000)
    rig.grant(grants(2, "withdraw"))
    assert rig.count("samples_ended") > 0
    assert rig.agent._buffer.last_seq == 0


def test_what_was_collected_under_a_set_is_sealed_under_its_generation(rig: Rig) -> None:
    rig.grant(grants(1))
    rig.pass_time(5_000)
    rig.grant(grants(2, "pause"))
    (data,) = (each for each in _parsed(contact(rig)) if each.header.type is DATA)
    prelude, _ = open_box(data.parts[0].box or b"", SEAL, data.place(0))
    assert prelude.generation == 1


def test_a_refusal_counts_only_for_the_very_envelope(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(61_000)
    sent = [each for each in _parsed(contact(rig)) if each.header.type is DATA]
    header = sent[0].header
    rig.tell(Refusal(header.stream, header.seq, bytes(32), "for_a_test"))
    assert rig.count("refusals_unknown") == 1
    rig.tell(Refusal(header.stream, header.seq, sent[0].manifest_hash, "for_a_test"))
    (gap,) = (Gap.parse(body) for body in bodies(rig.envelopes(), EnvelopeType.GAP))
    assert [(each.first, each.last, each.reason) for each in gap.ranges] == [(header.seq, header.seq, "refused")]
    assert gap.ranges[0].samples > 0


def test_a_key_set_only_rises(rig: Rig) -> None:
    newer, older = (
        KeySet(version, (PublicKey.of(BoxKey.from_seed(bytes([version]) * 32).public),), KEYS.public.sign)
        for version in (3, 2)
    )
    rig.tell(newer)
    rig.tell(older)
    assert rig.count("down_key_set_not_newer") == 1
    rig.start()
    rig.connect()
    assert rig.envelopes()[0].parts[0].kid == newer.sealing_key.kid


def test_a_schema_is_sent_again_once_for_a_contact(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    digest = rig.agent._buffer.schema_hashes()[0]
    for _ in range(3):
        rig.tell(SchemaRequest((digest,)))
    assert len(bodies(rig.envelopes(), EnvelopeType.SCHEMA)) == 1
    rig.connect(False)
    contact(rig)
    rig.tell(SchemaRequest((digest,)))
    assert len(bodies(rig.envelopes(), EnvelopeType.SCHEMA)) == 1


def test_a_schema_is_sent_again_to_a_cloud_that_still_asks_a_minute_later(rig: Rig) -> None:
    """It was restored to before it had it, and the connection, which is the broker's, has seen nothing of that."""
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    digest = rig.agent._buffer.schema_hashes()[0]
    rows = [schema_rows(rig)]
    for _ in range(4):
        rig.tell(SchemaRequest((digest,)))
        rows.append(schema_rows(rig))
        rig.pass_time(30_000, frames=False)
    assert [after - before for before, after in itertools.pairwise(rows)] == [1, 0, 1, 0]


def schema_rows(rig: Rig) -> int:
    query = "select count(*) from row where type = ?"
    return int(rig.buffer_db.execute(query, (int(EnvelopeType.SCHEMA),)).fetchone()[0])


def test_rows_whose_schema_is_lost_become_a_gap(rig: Rig) -> None:
    """Nobody could ever read them; sent for ever they would block the window."""
    rig.grant(grants())
    rig.pass_time(61_000)
    contact(rig)
    digest = rig.agent._buffer.schema_hashes()[0]
    rig.buffer_db.execute("delete from schema")
    rig.tell(SchemaRequest((digest,)))
    (gap,) = (Gap.parse(body) for body in bodies(rig.envelopes(), EnvelopeType.GAP))
    assert [each.reason for each in gap.ranges] == ["corrupt"]


# grants, mode, ceiling, time


def test_a_mode_takes_effect_at_once_and_survives_a_start(rig: Rig) -> None:
    rig.grant(grants())
    assert rig.identifiers != {"can0": ()}
    rig.do(rig.agent.set_mode(Mode.OFF, rig.moment()))
    assert rig.identifiers == {"can0": ()}
    rig.start()
    assert rig.identifiers == {"can0": ()}
    rig.do(rig.agent.set_mode(Mode.NORMAL, rig.moment()))
    assert rig.identifiers != {"can0": ()}


def test_no_location_keeps_the_position_in_the_car_at_once_and_nothing_else() -> None:
    """The bus is asked for the same frames as if it had never been granted; after a start too."""

    def identifiers(*items: dict[str, Any]) -> tuple[Rig, Identifiers]:
        rig = Rig(NOW_MS)
        rig.start()
        offer = kit.offer_bytes(items=[kit.item(kit.SPEED, transform={"interval_ms": 1000}), *items])
        rig.grant(kit.grant_set(1, Documents(offer, kit.token(offer, optional=()))))
        return rig, rig.identifiers

    rig, with_position = identifiers(*(kit.item(path, transform={"cell_m": 100}) for path in (LATITUDE, LONGITUDE)))
    _, without = identifiers()
    assert set(without["can0"]) < set(with_position["can0"])
    rig.do(rig.agent.set_mode(Mode.NO_LOCATION, rig.moment()))
    assert rig.identifiers == without
    rig.start()
    assert rig.identifiers == without
    rig.do(rig.agent.set_mode(Mode.NORMAL, rig.moment()))
    assert rig.identifiers == with_position


def test_the_ceiling_is_above_every_grant() -> None:
    rig = Rig(NOW_MS, ceiling=Ceiling(frozenset({Category.COMFORT})))
    rig.start()
    rig.grant(grants())
    assert rig.identifiers == {"can0": ()}


def test_a_grant_ends_by_the_clock_of_the_car_alone(rig: Rig) -> None:
    """No message comes; what is still in the buffer is destroyed too."""
    rig.synchronised = True
    rig.grant(grants())
    rig.pass_time(61_000)
    assert rig.count("rows_waiting") > 0
    end_ms = kit.GIVEN_MS + 30 * kit.DAY_MS
    rig.boot_ms += end_ms - rig.wall_ms - 10_000
    rig.pass_time(5_000, frames=False)
    assert rig.agent.status()["in_force"] == [kit.RECORD_ID]
    rig.pass_time(10_000, frames=False)
    assert rig.agent.status()["in_force"] == []
    assert rig.identifiers == {"can0": ()}
    rig.pass_time(60_000, frames=False)
    assert rig.count("boxes_destroyed") > 0


def test_a_grant_that_is_not_yet_valid_begins_by_itself(rig: Rig) -> None:
    rig.synchronised = True
    later_ms = rig.wall_ms + 30_000
    rig.grant(kit.grant_set(1, kit.documents(not_before_ms=later_ms)))
    assert rig.identifiers == {"can0": ()}
    rig.pass_time(31_000)
    assert rig.identifiers != {"can0": ()}


def test_without_the_time_a_grant_lasts_seven_days_of_powered_on_time(rig: Rig) -> None:
    """Over starts, and no start is free."""
    rig.grant(grants())
    days = 7 * kit.DAY_MS
    rig.pass_time(days // 2, step_ms=CHARGE_MS, frames=False)
    assert rig.agent.status()["in_force"]
    rig.reboot()
    rig.pass_time(days // 2 - 3 * CHARGE_MS, step_ms=CHARGE_MS, frames=False)
    assert rig.agent.status()["in_force"]
    rig.pass_time(4 * CHARGE_MS, step_ms=CHARGE_MS, frames=False)
    assert rig.agent.status()["in_force"] == []
    assert rig.identifiers == {"can0": ()}
    rig.reboot()
    assert rig.identifiers == {"can0": ()}
    # and trusted time ends the count
    rig.synchronised = True
    rig.pass_time(1000, frames=False)
    assert rig.agent.status()["in_force"]


def test_a_persisted_floor_beyond_its_end_ends_a_grant(rig: Rig) -> None:
    """A unit that once knew it is too late does not forget that with its clock."""
    rig.grant(grants())
    rig.agent._store.set_floor(Floor(kit.GIVEN_MS + 30 * kit.DAY_MS))
    rig.reboot()
    assert rig.agent.status()["in_force"] == []
    assert rig.identifiers == {"can0": ()}


def test_a_sale_wipes_grants_and_buffer(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(61_000)
    stream = rig.agent._buffer.stream
    rig.consent_db.execute("update meta set value = ? where name = 'tenure'", (b"another/1",))
    rig.start()
    assert rig.count("rows_waiting") == 0
    assert rig.agent._buffer.stream != stream
    assert rig.identifiers == {"can0": ()}


# disk


def test_no_reading_is_on_the_disk_unsealed(rig: Rig) -> None:
    """Law 4: neither of a closed window nor of a checkpoint."""
    rig.grant(grants())
    rig.pass_time(55_000)
    cuts = rig.agent._collector.since_checkpoint(rig.boot_ms)
    rig.pass_time(66_000)
    assert rig.count("rows_waiting") > 0
    disk = rig.buffer_db.serialize() + rig.consent_db.serialize()
    for cut in cuts:
        for values in cut.batch.values:
            assert values.tobytes() not in disk
            assert values.astype(">i8").tobytes() not in disk


def test_a_full_disk_is_counted_and_named() -> None:
    rig = Rig(NOW_MS, buffer_bytes=BUFFER_BYTES // 32)
    rig.start()
    rig.grant(grants())
    for _ in range(150):
        rig.pass_time(1_000)
        rig.do(rig.agent.flush("asked", rig.moment()))
    assert rig.count("rows_evicted") > 0
    lost = bodies(_parsed(contact(rig)), EnvelopeType.GAP)
    ranges = [each for body in lost for each in Gap.parse(body).ranges]
    assert {each.reason for each in ranges} == {"evicted"}
    assert sum(each.samples for each in ranges) == rig.count("samples_evicted")


def test_a_disk_that_takes_nothing_more_is_said_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is counted from then on; the log must not be the next thing that fills."""

    def full(*_arguments: object, **_options: object) -> None:
        raise BufferFull("buffer_full", "full")

    rig.grant(grants())
    monkeypatch.setattr(Buffer, "add_all", full)
    notes = []
    for _ in range(3):
        rig.pass_time(5_000)
        rig.agent.flush("asked", rig.moment())
        notes += [each.text for each in rig.agent.on_tick(rig.moment()) if isinstance(each, Note)]
    assert rig.count("samples_lost_full") > 0
    assert len(notes) == 1 and "the disk is full" in notes[0]


def test_f15_a_decoder_that_raises_costs_its_block_and_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the caller's to count; what was collected before is there, and what comes after is collected."""
    rig.grant(grants())
    rig.pass_time(20_000)
    before = rig.agent.status()["samples_pending"]
    with monkeypatch.context() as broken:
        broken.setattr(rig.agent._collector, "feed_frames", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rig.pass_time(1_000)
    assert rig.agent.status()["samples_pending"] == before
    rig.pass_time(20_000)
    rig.do(rig.agent.flush("asked", rig.moment()))
    assert rig.count("samples_waiting") >= 20 + 19 + 2 * 4


def test_a_stop_writes_everything_that_is_open(rig: Rig) -> None:
    rig.grant(grants())
    rig.pass_time(25_000)
    assert rig.count("checkpoints") > 0
    rig.do(rig.agent.flush("stop", rig.moment()))
    assert rig.count("samples_waiting") >= 25
    rig.start()
    assert rig.count("boxes_promoted") == 0


def test_health_is_reported_when_there_is_contact(rig: Rig) -> None:
    rig.pass_time(2 * HEALTH_MS, step_ms=60_000, frames=False)
    assert rig.count("rows_waiting") == 0
    contact(rig)
    rig.pass_time(HEALTH_MS, step_ms=5_000, frames=False)
    reports = [body for body in bodies(rig.envelopes(), EnvelopeType.CHECK_IN_OR_HEALTH) if b"counters" in body]
    assert reports
    assert Health.parse(reports[-1]).counters["boots"] == 1


def _parsed(payloads: list[bytes]) -> list[Envelope]:
    return [parse_envelope(each) for each in payloads]


def _ack(rig: Rig, ranges: list[tuple[int, int]]) -> bytes:
    ack = Ack(rig.agent._buffer.stream, 0, bytes(32), rig.wall_ms, ranges=tuple(ranges))
    return sign_ack(ack, DEVICE, KEYS.sign)
