"""Paths: what a signal may be called, and what it is called when nobody named it."""

from __future__ import annotations

import pytest

from carnet.errors import FormatError
from carnet.signals import PATH_SIZE_MAX, check_path, is_private, private_path


@pytest.mark.parametrize(
    "path", ["Vehicle.Speed", "Vehicle.Cabin.Door.Row1.DriverSide.IsOpen", "Vehicle.Private.can0.a-b.M_1.S"]
)
def test_a_path_of_the_right_form_comes_back(path: str) -> None:
    """Segments of letters, digits, underscore and hyphen."""
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "Vehicle", "Vehicle.", "Speed", "Vehicle..Speed", "vehicle.Speed", "Vehicle.Speed ", "Vehicle.Speed\n",
     "Vehicle.Spéed", "Vehicle." + "a" * PATH_SIZE_MAX],
)  # fmt: skip
def test_any_other_text_is_refused(path: str) -> None:
    """Also white space at the end, which a careless pattern lets through."""
    with pytest.raises(FormatError) as refusal:
        check_path(path)
    assert refusal.value.reason == "path_malformed"


def test_an_unnamed_signal_gets_a_private_path() -> None:
    """A dot inside a part would make a level of its own, so it is replaced."""
    path = private_path("can1", "OBD-v4.4", "OBD_RX", "S01PID")
    assert path == "Vehicle.Private.can1.OBD-v4_4.OBD_RX.S01PID"
    assert is_private(path)
    assert not is_private("Vehicle.PrivateCar")
