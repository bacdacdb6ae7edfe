"""The one place where data may leave: is this column, captured then, covered by this grant, now?

Law 1: whatever is unknown, expired, unresolved or not granted is denied. Pure: every answer follows from its arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from carnet.grants import Grant, item_allows
from carnet.keys import key_id
from carnet.narrowing import silenced_by
from carnet.schema import Column
from carnet.states import State
from carnet_cloud.catalogue import Entry

Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The earliest and the latest that moments may have been, ms since 1970."""


class Blocked(StrEnum):
    """Which of all that has to agree did not; the first that applies is the answer to "why"."""

    TENURE = "tenure"
    """The vehicle changed hands: another epoch."""
    TENANT = "tenant"
    """The record is of another tenant than the device."""
    RECIPIENT = "recipient"
    """It takes nothing: it has ended the consent, or nobody is configured to receive for it."""
    OWNER = "owner"
    """The owner has not given, has paused or has withdrawn this."""
    OPERATOR = "operator"
    """The operator has suspended or revoked it."""
    UNCONFIRMED = "unconfirmed"
    """The store was restored: silent until the owner's tool has confirmed the record."""
    LOG = "log"
    """Its owner has given, resumed or renewed it, and the log does not have that yet."""
    EXPIRED = "expired"
    SCHEMA = "schema"
    """The path is not in the catalogue, or with another unit."""
    OFFER = "offer"
    """No chosen item of the offer covers this path with this transform."""
    SEAL = "seal"
    """Sealed to another key than the offer names, open where it must be sealed, or in one box with what stays here."""
    TIME = "time"
    """The grant has not begun; captured outside it, or it cannot be shown that it was inside."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as the cloud stands to it: the grant that is in force and what only the cloud knows."""

    grant: Grant
    silent: bool
    """Not sent until its owner has confirmed it."""
    reachable: bool
    """Its recipient is configured here."""
    position: int = 0
    """Of its newest entry in the log."""
    coming: Grant | None = None
    """What it comes to once the log has its newest entries, which widen; the grant itself if nothing is in force."""

    @property
    def latest(self) -> Grant:
        """What all its entries come to, logged or not."""
        return self.coming or self.grant


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent it: the enrolled device's tenant, vehicle (26 characters) and epoch."""

    tenant: str
    vehicle: str
    epoch: int


def may_send(standing: Standing | None, now_ms: int) -> Blocked | None:
    """Whether anything may go out under this record now; None if it may. Asked at ingest, enqueue and send."""
    if standing is None:
        return Blocked.OWNER
    refused = _refused(standing, standing.grant, now_ms)
    goes_on = refused is None and standing.coming is not standing.grant
    if standing.coming is None or goes_on:
        return refused
    return Blocked.LOG if _refused(standing, standing.coming, now_ms) is None else refused


def _refused(standing: Standing, grant: Grant, now_ms: int) -> Blocked | None:
    if grant.state_at(now_ms) is State.EXPIRED:
        return Blocked.EXPIRED
    silenced = silenced_by(grant, now_ms)
    if silenced is not None:
        return Blocked(silenced.value)
    if standing.silent:
        return Blocked.UNCONFIRMED
    if not standing.reachable:
        return Blocked.RECIPIENT
    return None


def may_take(standing: Standing | None, sender: Sender, epoch: int, now_ms: int) -> Blocked | None:
    """Whether a box of this sender, sealed in this epoch, may feed this record at all; None if it may."""
    if standing is None:
        return Blocked.OWNER
    grant = standing.grant
    if not sender.epoch == epoch == grant.epoch or grant.vehicle != sender.vehicle:
        return Blocked.TENURE
    if grant.tenant != sender.tenant:
        return Blocked.TENANT
    return may_send(standing, now_ms)


def may_open(grant: Grant, kid: bytes | None) -> Blocked | None:
    """Whether who can open a box is whom the owner has agreed to; ``kid``: of the recipient's key that it is sealed to,
    None if the cloud opens it. None if it is so.
    """
    agreed = None if grant.sealed_to is None else key_id(grant.sealed_to)
    return None if kid == agreed else Blocked.SEAL


def may_hold(grant: Grant, column: Column, entry: Entry | None) -> Blocked | None:
    """Whether the grant covers this column's path and transform, as the catalogue knows the path; None if it does."""
    if entry is None or entry.unit != column.unit:
        return Blocked.SCHEMA
    if item_allows(grant, column.path, entry.category, column.transform) is None:
        return Blocked.OFFER
    return None


def captured_inside(grant: Grant, earliest_ms: NDArray[np.int64], latest_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For every capture interval whether it lies in the grant as a whole."""
    inside: NDArray[np.bool_] = (
        (grant.covers_from_ms <= earliest_ms) & (earliest_ms <= latest_ms) & (latest_ms < grant.expires_ms)
    )
    return inside


def unsure(grant: Grant, begins: Bounds, ends: Bounds) -> NDArray[np.bool_]:
    """For every capture that begins and ends within these bounds whether a better clock could still show that it lies
    in the grant.
    """
    could: NDArray[np.bool_] = (begins[1] >= grant.covers_from_ms) & (ends[0] < grant.expires_ms)
    return could & ~captured_inside(grant, begins[0], ends[1])
