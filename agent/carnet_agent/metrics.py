"""Every number of the agent with its name for Prometheus and its meaning; ``docs/operations.md`` has the same table.

They are made of what ``status`` tells, outside of the running agent. Law: no label names the unit, the vehicle, a
consent or a path; a bus is named as in the configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from carnet.metrics import Family, Metric, families, family


def _counter(name: str, counted: str, text: str, *labels: str, known: tuple[str, ...] = ()) -> Metric:
    return Metric(f"carnet_agent_{name}", "counter", text, counted, labels, known)


def _gauge(name: str, text: str, *labels: str, counted: str = "") -> Metric:
    return Metric(f"carnet_agent_{name}", "gauge", text, counted, labels)


BUFFER: Final = (
    _gauge("outbox_rows", "Sealed rows that the cloud has not acknowledged.", counted="rows_waiting"),
    _gauge("outbox_samples", "Samples in these rows.", counted="samples_waiting"),
    _gauge("outbox_bytes", "Bytes of these rows.", counted="bytes_waiting"),
)
"""What is told without a running agent, too."""

CORE: Final = (
    *BUFFER,
    _gauge("checkpoint_boxes", "Sealed copies of what the open window holds.", counted="checkpoints"),
    _counter("rows_acknowledged", "rows_acknowledged", "Rows that the cloud has acknowledged."),
    _counter("rows_evicted", "rows_evicted", "Rows given up because the buffer was full; named to the cloud."),
    _counter("samples_evicted", "samples_evicted", "Samples in evicted rows."),
    _counter("rows_corrupt", "rows_corrupt", "Rows given up because the disk had damaged them; named to the cloud."),
    _counter("samples_lost", "samples_lost_*", "Samples that the disk did not take.", "reason", known=("full", "disk")),
    _counter("samples_ended", "samples_ended", "Samples in the open window whose consent ended."),
    _counter(
        "samples_outside", "samples_outside", "Samples to be sealed to a recipient, not surely within its consent."
    ),
    _counter("samples_dropped", "dropped_*", "Samples that were no readings.", "reason"),
    _counter(
        "samples_rolled_back",
        "samples_rolled_back",
        "Samples given up because the cloud has or may have others.",
    ),
    _counter("streams_begun", "rolled_back", "New streams because the cloud knew more or other than this card."),
    _counter("rows_reopened", "rows_reopened", "Rows sent again because the cloud had forgotten them."),
    _counter("boxes_destroyed", "boxes_destroyed", "Sealed boxes destroyed because their consents ended."),
    _counter("boxes_promoted", "boxes_promoted", "Checkpoint boxes that a start made into rows."),
    _counter("checkpoints_failed", "checkpoints_*", "Checkpoints that the disk did not take.", "reason"),
    _counter("reports_failed", "reports_*", "Reports to the cloud that the disk did not take.", "reason"),
    _counter("time_floors_failed", "floors_disk", "Times that the time floor could not be written."),
    _counter("rows_refused", "refused_*", "Rows that the cloud refused for good.", "reason"),
    _counter("refusals_unknown", "refusals_unknown", "Refusals of rows that this unit does not have."),
    _counter("grants_refused", "grant_*", "Consents in a grant set that did not verify; not collected.", "reason"),
    _counter("messages_refused", "down_*", "Messages to this unit that did not verify or were old.", "reason"),
    _counter("flushes", "flush_*", "Windows written before their time.", "reason"),
    _counter("contacts", "connections", "Times that the broker was found."),
    _counter("log_heads", "log_*", "Heads of the cloud's log, by what they were.", "verdict"),
    _counter("clock_refused", "clock_refused", "Words about the time that were not believed."),
    _counter("untimed_charges", "untimed_charges", "Ten-minute pieces charged to grants without trusted time."),
    _counter("boots", "boots", "Starts of the agent that its disk remembers."),
)
BROKER: Final = (
    _counter("broker_connections", "connections", "Connections that may be used."),
    _counter("broker_confirmed", "confirmed", "Messages that the broker confirmed."),
    _gauge("broker_unconfirmed", "Messages handed over that it has not confirmed.", counted="unconfirmed"),
    _counter("broker_not_taken", "not_taken", "Messages that could not be handed over; they come again."),
    _counter("broker_troubles", "*", "What went wrong with the broker.", "reason"),
)
BUS: Final = (
    _counter("bus_frames", "frames", "Frames of granted signals that were read.", "bus"),
    _counter("bus_dropped", "dropped", "Frames lost before they could be read.", "bus"),
    _counter("bus_discarded", "discarded", "Frames thrown away unread after a consent ended.", "bus"),
    _counter("bus_errors", "error_frames", "Error frames.", "bus"),
    _counter("bus_off", "bus_off", "Error frames that say bus-off.", "bus"),
    _counter("bus_remote", "remote_frames", "Remote frames.", "bus"),
    _counter("bus_malformed", "malformed", "What is no CAN frame.", "bus"),
    _counter("bus_opened", "opened", "Times that the bus was opened.", "bus"),
    _counter("bus_open_failed", "open_failed", "Attempts to open it that failed.", "bus"),
    _counter("bus_interrupted", "interrupted", "Times that an open bus failed.", "bus"),
    _counter("bus_stalled", "stalled", "Times that the adapter's driver stood still.", "bus"),
)
RUNNING = _gauge("running", "1 if the agent answered when this was written.")
CONNECTED = _gauge("broker_connected", "1 while the connection to the broker stands.")
CONTACT = _gauge("contact", "1 if the cloud has answered on this connection.")
UNACKNOWLEDGED = _gauge("unacknowledged_seconds", "Since when rows wait without an acknowledgement; 0 if none waits.")
PENDING = _gauge("pending_samples", "Samples of the open window, which are not on the disk but for their checkpoints.")
IN_FORCE = _gauge("grants_in_force", "Consents that allow something now.")
GRANTS = _gauge("grants", "Consents that the unit knows.", "state")
BLOCKED = _gauge("blocked_items", "What is granted and not collected.", "reason")
BUS_FAULT = _gauge("bus_fault", "1 while nothing comes from the bus because of a fault.", "bus")
FAILURES = _counter("failures", "", "Failures that the agent outlived.", "where", "reason")
UNNAMED = _counter("unnamed", "", "Counters that this table does not know.", "name")
STATES: Final = (RUNNING, CONNECTED, CONTACT, UNACKNOWLEDGED, PENDING, IN_FORCE, GRANTS, BLOCKED, BUS_FAULT)


def numbers(facts: Mapping[str, Any], boot_ms: int) -> Iterator[Family]:
    """What ``status`` told at ``boot_ms`` of CLOCK_BOOTTIME, as metrics; of an agent that does not run what waits."""
    yield family(RUNNING, {(): facts["running"]})
    if not facts["running"]:
        yield from list(families(BUFFER, facts["buffer"] or {}, UNNAMED))[:-1]
        return
    waiting = facts["counters"].get("rows_waiting", 0)
    since_ms = facts["acknowledged_boot_ms"]
    yield from families(CORE, facts["counters"], UNNAMED)
    yield from list(families(BROKER, _numbers(facts["broker"]), UNNAMED))[:-1]
    yield from _of_buses(facts["buses"])
    single = (
        (CONNECTED, facts["connected"]),
        (CONTACT, facts["contact"]),
        (UNACKNOWLEDGED, max(0, boot_ms - since_ms) / 1000 if waiting else 0),
        (PENDING, facts["samples_pending"]),
        (IN_FORCE, len(facts["in_force"])),
    )
    yield from (family(metric, {(): number}) for metric, number in single)
    yield family(GRANTS, {(state,): n for state, n in Counter(each["state"] for each in facts["grants"]).items()})
    yield family(BLOCKED, {(reason,): n for reason, n in facts["blocked"].items()})
    yield family(FAILURES, {_place_and_reason(name): n for name, n in facts["failures"].items()})


def _of_buses(buses: Mapping[str, Mapping[str, Any]]) -> Iterator[Family]:
    yield family(BUS_FAULT, {(bus,): facts["fault"] is not None for bus, facts in buses.items()})
    for metric in BUS:
        yield family(metric, {(bus,): facts.get(metric.counted, 0) for bus, facts in buses.items()})


def _numbers(facts: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in facts.items() if isinstance(value, int)}


def _place_and_reason(name: str) -> tuple[str, str]:
    """The two sides of ``tick: store_failed``."""
    place, _, reason = name.partition(": ")
    return place, reason
