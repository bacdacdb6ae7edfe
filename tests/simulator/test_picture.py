"""The picture of a run: every mark a sample that was received, and well-formed whatever stands in a name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from carnet_simulator.demo.picture import Panel, draw, save
from carnet_simulator.demo.words import shortened

SVG = "{http://www.w3.org/2000/svg}"
SPEED = "Vehicle.Speed"


def marks(page: str, colour: str) -> list[ET.Element]:
    return [rect for rect in ET.fromstring(page).iter(f"{SVG}rect") if rect.get("class") == colour]


def panel(times: dict[str, list[int]], withdrawn_ms: int | None = None) -> Panel:
    return Panel("shop", "why", times, {}, withdrawn_ms)


def test_a_mark_for_each_second_that_has_samples() -> None:
    page = draw("t", [panel({SPEED: [0, 10, 990, 1000, 9000]}), panel({"Vehicle.X": [5000]})], 0, 10_000, "")
    assert len(marks(page, "a")) == 3
    assert len(marks(page, "b")) == 1


def test_more_samples_are_a_taller_mark() -> None:
    first, second = marks(draw("t", [panel({SPEED: [0, 1, 2, 1000]})], 0, 10_000, ""), "a")
    assert float(first.get("height", 0)) > float(second.get("height", 0))


def test_the_withdrawal_is_marked_and_what_follows_is_shaded() -> None:
    page = draw("t", [panel({SPEED: [1000]}, withdrawn_ms=6000), panel({SPEED: [1000, 9000]})], 0, 10_000, "")
    (shade,) = marks(page, "silent")
    mark = marks(page, "a")[0]
    assert float(mark.get("x", 0)) < float(shade.get("x", 0))
    assert "consent withdrawn" in page and page.count('class="end"') == 1


def test_a_mark_after_the_withdrawal_would_be_drawn_over_the_shade() -> None:
    """A picture that hid a breach would be worse than none."""
    page = draw("t", [panel({SPEED: [8000]}, withdrawn_ms=6000)], 0, 10_000, "")
    classes = [rect.get("class") for rect in ET.fromstring(page).iter(f"{SVG}rect")]
    assert classes.index("a") > classes.index("silent")


def test_a_recipient_that_got_nothing_is_said_to_have_got_nothing() -> None:
    assert "nothing left for this recipient" in draw("t", [panel({})], 0, 10_000, "")


@pytest.mark.parametrize("end_ms", [0, 1, 59_000, 3_600_000, 10**9])
def test_any_span_of_time_has_an_axis_with_few_lines(end_ms: int) -> None:
    page = draw("t", [panel({SPEED: [0]})], 0, end_ms, "")
    assert 1 <= page.count('class="grid"') <= 14


def test_names_cannot_break_out() -> None:
    evil = 'x"><script>alert(1)</script>&'
    page = draw(evil, [Panel(evil, evil, {evil: [0]}, {evil: evil})], 0, 1000, evil)
    assert ET.fromstring(page).tag == f"{SVG}svg"
    assert "<script" not in page


def test_equal_runs_give_equal_pictures() -> None:
    panels = [panel({"Vehicle.B": [1], "Vehicle.A": [2]})]
    assert draw("t", panels, 0, 9, "n") == draw("t", panels, 0, 9, "n")


def test_a_long_path_keeps_its_end() -> None:
    assert shortened("Vehicle.Speed") == "Speed"
    path = "Vehicle.Powertrain.TractionBattery.Charging.ChargingPort.AnyPosition.IsChargingCableConnected"
    assert shortened(path).endswith("AnyPosition.IsChargingCableConnected") and len(shortened(path)) <= 44


def test_without_a_name_each_picture_is_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary folder is everybody's: nothing there is written over or followed, and two demonstrations keep
    their own.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "carnet-demo.svg").symlink_to(victim)
    first, second = save(None, "<one/>"), save(None, "<two/>")
    assert (first.read_text(), second.read_text(), victim.read_text()) == ("<one/>", "<two/>", "mine")
    assert {each.parent for each in (first, second)} == {tmp_path}


def test_a_picture_with_a_name_is_that_file(tmp_path: Path) -> None:
    assert save(tmp_path / "a.svg", "<one/>") == tmp_path / "a.svg"
    assert (tmp_path / "a.svg").read_text() == "<one/>"


def test_every_row_shows_how_its_readings_were_made_coarser() -> None:
    page = draw("t", [Panel("shop", "why", {SPEED: [0]}, {SPEED: "every 5 s, rounded to 5"})], 0, 10_000, "")
    texts = [text.text for text in ET.fromstring(page).iter(f"{SVG}text")]
    assert "every 5 s, rounded to 5" in texts


def test_what_was_asked_for_and_refused_has_a_row_without_a_mark() -> None:
    page = draw("t", [Panel("shop", "why", {}, {}, refused={"Vehicle.X.Y": "the ceiling set in the car"})], 0, 9, "")
    assert "the ceiling set in the car" in page and not marks(page, "a")
    (path,) = [text for text in ET.fromstring(page).iter(f"{SVG}text") if "".join(text.itertext()) == "X.Y"]
    assert path is not None


def test_the_legend_explains_the_signs_that_the_page_has_and_no_other() -> None:
    plain = draw("t", [panel({SPEED: [0]})], 0, 10_000, "")
    ended = draw("t", [panel({SPEED: [0]}, withdrawn_ms=6000)], 0, 10_000, "")
    refused = draw("t", [Panel("shop", "why", {}, {}, refused={SPEED: "no"})], 0, 10_000, "")
    silence, refusal = "what waited then was destroyed", "asked for and refused"
    assert "samples of one second" in plain
    assert [silence in page for page in (plain, ended, refused)] == [False, True, False]
    assert [refusal in page for page in (plain, ended, refused)] == [False, False, True]
