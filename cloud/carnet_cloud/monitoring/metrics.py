"""Every number of the cloud with its name for Prometheus and its meaning; ``docs/operations.md`` has the same table.

Law: no number of the cloud is left out (a test reads the source), and no label names a car, a unit or a consent.
"""

from __future__ import annotations

from typing import Final

from carnet.bodies import GAP_REASONS
from carnet.metrics import Metric
from carnet.states import EventKind
from carnet_cloud.gate import Blocked

OUTCOMES: Final = ("confirmed", "retry", "refused", "cut", "unsent", "failed")
"""What can become of a send: of `carnet_cloud.recipients.Outcome` what outlives a group, and an error of ours."""

WRITTEN: Final = tuple(kind for kind in EventKind if kind not in {EventKind.REFUSE, EventKind.EXPIRE})
"""A no to an offer and the end of a term are in no document: nobody writes them down, so nobody counts them."""


def _counter(name: str, counted: str, text: str, label: str = "", known: tuple[str, ...] = ()) -> Metric:
    return Metric(f"carnet_cloud_{name}", "counter", text, counted, (label,) if label else (), known)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"carnet_cloud_{name}", "gauge", text, labels=labels)


COUNTERS: Final = (
    _counter("envelopes_received", "envelopes_received", "Messages taken from the broker and looked at."),
    _counter("envelopes_refused", "refused_*", "Messages refused for good.", "reason"),
    _counter("envelopes_deferred", "deferred_*", "Messages not taken now; the unit sends them again.", "reason"),
    _counter("envelopes_duplicate", "duplicates", "Envelopes that had been taken before; acknowledged again."),
    _counter("envelopes_empty", "envelopes_empty", "Envelopes whose boxes were all destroyed in the car."),
    _counter("envelopes_failed", "failed_unexpected", "Messages that failed in a way nobody thought of; set aside."),
    _counter("envelopes_held", "held_*", "Envelopes kept sealed until the time of their capture is known.", "reason"),
    _counter("envelopes_held_destroyed", "held_destroyed", "Held envelopes destroyed after 30 days."),
    _counter(
        "messages_of_other_receivers",
        "shard_of_another",
        "Messages of shards that another receiver serves; left to it.",
    ),
    _counter("check_ins", "check_ins", "Check-ins of units."),
    _counter("units_quarantined", "quarantined_clone", "Times that one number came with two contents: a clone."),
    _counter("samples_lost", "lost_*", "Samples that units said are lost for good.", "reason", GAP_REASONS),
    _counter("samples_blocked", "blocked_*", "Samples that the gate did not let out.", "reason", tuple(Blocked)),
    _counter("events_enqueued", "events_enqueued", "Events that were granted and wait or waited for their recipient."),
    _counter("sends", "send_*", "Events that a sender had taken, by what became of them.", "outcome", OUTCOMES),
    _counter("events_given_up", "send_given_up", "Events that nobody answered for three days; told as unknown."),
    _counter("events_unreadable", "outbox_key_gone", "Events whose key was gone before they could be sent."),
    _counter("replays_asked", "replay_asked", "Events that recipients have asked for once more."),
    _counter("records_forgotten", "record_forgotten", "Ended consents that a recipient was told to show no more."),
    _counter("consent_events", "consent_*", "Entries of consents by kind, the yes among them.", "kind", WRITTEN),
    _counter("floors_behind", "behind_floor", "Times that a car or owner had seen more than the restored store."),
    _counter("log_floors_behind", "behind_log_floor", "Times that a car or owner had seen a larger log than here."),
    _counter("log_leaves", "log_leaves", "Leaves that got their place in a transparency log."),
    _counter("log_leaves_forgotten", "log_leaves_forgotten", "Places in a log whose leaf a restored store lacks."),
    _counter("journal_missing", "journal_missing", "Starts without the journal of narrowings; all fell silent."),
    _counter("journal_applied", "journal_applied", "Records ended again from the journal."),
    _counter("records_unreadable", "stored_record_refused", "Times that a stored record did not verify; denied."),
    _counter("store_probes", "store_probes", "Times that the store was written only to see that it can be."),
)
"""What the store counts, over restarts."""

UNNAMED = _counter("unnamed", "", "Counters that this table does not know.", "name")
FAILURES = Metric(
    "carnet_cloud_failures",
    "counter",
    "Failures of loops and duties since the start; each goes on.",
    labels=("loop", "reason"),
)
DROPPED = _counter("messages_dropped", "", "Messages dropped because too much waited; units send them again.")
BROKER_FAILED = _counter("broker_failures", "", "Connections to the broker that failed or broke.")
CONNECTED = _gauge("broker_connected", "1 while the broker has granted the subscriptions.")
READY = _gauge("ready", "1 for each part that is ready; /readyz asks for all.", "part")
OUTBOX = _gauge("outbox_events", "Events of a recipient that wait (queued) or are being sent.", "recipient", "state")
OLDEST = _gauge(
    "outbox_oldest_age_seconds", "Age of the oldest of the 1,000 events that go to a recipient next.", "recipient"
)
HELD = _gauge("held_envelopes", "Envelopes that wait for the time of their capture; at most 10,000 are counted.")
LEASES = _gauge("leases", "Events that senders of this process hold leases of.")
LEASE_AGE = _gauge("lease_age_seconds", "Since when the oldest lease of this process is held.")

GAUGES: Final = (CONNECTED, READY, OUTBOX, OLDEST, HELD, LEASES, LEASE_AGE)
OTHERS: Final = (UNNAMED, FAILURES, DROPPED, BROKER_FAILED)

HISTOGRAMS: Final = {
    "carnet_cloud_commit_seconds": "From taking a group of messages to the end of its commit.",
    "carnet_cloud_group_envelopes": "Messages that were judged and committed together.",
    "carnet_cloud_send_seconds": "From handing an event to its recipient to the outcome.",
}
