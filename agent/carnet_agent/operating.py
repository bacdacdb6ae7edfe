"""The unit's own signals: ignition off and a low battery close the window, the satellite receiver tells the time.

Law 1: these readings are looked at and forgotten; none is stored or sent on this account.
"""

from __future__ import annotations

from collections.abc import Mapping

Number = int | float

IGNITION, VOLTAGE, GNSS_TIME = "ignition", "voltage", "gnss_time"
"""Names under which the collector is told to read them."""


class Operating:
    """Sees edges. ``voltage_min``: volts, None if the unit does not look."""

    def __init__(self, voltage_min: float | None) -> None:
        self._voltage_min = voltage_min
        self._ignition_on = False
        self._voltage_low = False
        self._gnss: Number | None = None

    def flush_reason(self, readings: Mapping[str, Number | None]) -> str | None:
        """``ignition_off`` or ``under_voltage`` when that has just begun."""
        ignition, voltage = readings.get(IGNITION), readings.get(VOLTAGE)
        went_off = self._ignition_on and ignition == 0
        low = self._voltage_min is not None and voltage is not None and voltage < self._voltage_min
        went_low = low and not self._voltage_low
        self._ignition_on = ignition is not None and ignition != 0
        self._voltage_low = low
        return "ignition_off" if went_off else "under_voltage" if went_low else None

    def new_time_ms(self, readings: Mapping[str, Number | None]) -> int | None:
        """The satellite receiver's time in ms since 1970, if it is not the one seen last."""
        seconds = readings.get(GNSS_TIME)
        if seconds is None or seconds == self._gnss or seconds <= 0:
            return None
        self._gnss = seconds
        return int(seconds * 1000)
