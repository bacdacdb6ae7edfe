"""The demonstration's recipients: a webhook that believes only signatures, files read as they grow, and the search."""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from carnet_simulator.demo.received import Received
from carnet_simulator.demo.scene import simulated_car, vin_markers
from carnet_simulator.demo.search import search
from carnet_simulator.demo.webhook import Insurer, verify
from tests.simulator.readings import SPEED, column, event

SECRET = "whsec_" + "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
NOW = 1_800_000_000


def signed(body: bytes, *, now_s: int = NOW, name: str = "evt") -> dict[str, str]:
    """As the publishers of the specification sign."""
    stamp = datetime.fromtimestamp(now_s, UTC)
    signature = Webhook(SECRET).sign(name, stamp, body.decode())
    return {"webhook-id": name, "webhook-timestamp": str(now_s), "webhook-signature": signature}


def test_a_signature_of_the_specification_s_own_library_is_believed() -> None:
    assert verify(SECRET, signed(b"{}"), b"{}", NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "other"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "now"},
        {"webhook-signature": ""},
        {"webhook-signature": "v2,AAAA"},
        {"webhook-id": ""},
    ],
)
def test_anything_else_is_not(change: dict[str, str]) -> None:
    assert not verify(SECRET, {**signed(b"{}"), **change}, b"{}", NOW)


def test_another_body_an_old_time_and_another_secret_are_not() -> None:
    assert not verify(SECRET, signed(b"{}"), b"{ }", NOW)
    assert not verify(SECRET, signed(b"{}"), b"{}", NOW + 301)
    assert not verify("whsec_" + "Qg==", signed(b"{}"), b"{}", NOW)


def test_an_event_is_written_once_and_confirmed_each_time(tmp_path: Path) -> None:
    """A sender that did not hear the answer comes again with the same id."""
    import time

    insurer = Insurer(tmp_path / "events.jsonl", SECRET)
    with insurer:
        connection = http.client.HTTPConnection("127.0.0.1", int(insurer.url.split(":")[2].split("/")[0]), timeout=5)
        statuses = []
        for headers in (signed(b"{}", now_s=int(time.time())), signed(b"{}", now_s=int(time.time())), {}):
            connection.request("POST", "/carnet", b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
    assert statuses == [204, 200, 401]
    assert (tmp_path / "events.jsonl").read_bytes() == b"{}\n"
    assert (insurer.repeated, insurer.refused) == (1, 1)


def test_a_file_is_read_as_it_grows_and_half_a_line_waits(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    received = Received(file)
    assert received.look(1) == 0
    line = json.dumps(event(column(SPEED, {}, [10, 20], [1, 2]))).encode() + b"\n"
    file.write_bytes(line + line[:20])
    assert received.look(2) == 1
    file.write_bytes(line + line)
    assert received.look(3) == 1
    assert (received.samples, received.arrived_ms, received.doubled) == (4, [2, 3], 1)
    assert received.latest[SPEED].value == 2


def test_the_latest_value_is_the_one_captured_last_and_labels_are_its_words(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    late = event(column("Vehicle.Gear", {}, [50], [1], labels={"1": "first"}))
    early = event(column("Vehicle.Gear", {}, [40], [2], labels={"2": "second"}))
    file.write_text(f"{json.dumps(late)}\n{json.dumps(early)}\n")
    received = Received(file)
    received.look(1)
    assert received.latest["Vehicle.Gear"].value == "first"


def test_a_marker_is_found_in_any_file_and_form(tmp_path: Path) -> None:
    vin = "CARNETSM0AA123456"
    forms = vin_markers(vin)
    for number, form in enumerate(forms):
        (tmp_path / "deep" / str(number)).mkdir(parents=True)
        (tmp_path / "deep" / str(number) / "store.db").write_bytes(b"\0\xff" * 500 + form + b"\0")
    (tmp_path / "clean").write_bytes(b"the text that is known to be here")
    result = search(tmp_path, forms, b"known to be")
    assert result.files == len(forms) + 1
    assert len(result.found) == len(forms)
    assert result.control == ("clean",)


def test_five_digits_inside_a_longer_number_are_no_part_of_the_vin(tmp_path: Path) -> None:
    """A time in milliseconds has thirteen: about one demonstration in a hundred would fail by chance."""
    forms = vin_markers("CARNETSM0AA123456")
    (tmp_path / "journal").write_bytes(b'{"record":"rec_a","time_ms":1780123456078}')
    assert search(tmp_path, forms, b"rec_a").found == ()
    (tmp_path / "log").write_bytes(b"VinCharacters3 was 23456!")
    assert search(tmp_path, forms, b"rec_a").found == ("log",)


def test_the_car_of_a_seed_has_one_marker_and_two_offers_that_stand() -> None:
    """The offers are real documents: car and cloud would refuse them otherwise."""
    from carnet.offers import parse_offer
    from carnet_simulator.demo.scene import offer_bytes

    played = simulated_car(3, "ten_aaaaaaaaaaaaaaaa", 1_800_000_000_000)
    paths = {signal.path for signal in played.signals}
    for party in played.parties:
        offer = parse_offer(offer_bytes(party))
        assert {item.path for item in offer.items} <= paths
        assert all(offer.items[number].need == "optional" for number in party.choose)
    assert played.markers[0].startswith(b"CARNETSM")
    assert played.markers == simulated_car(3, "ten_aaaaaaaaaaaaaaaa", 0).markers
