"""Devices, the vehicles they sit in, and the keys of their owners."""

from __future__ import annotations

from dataclasses import dataclass

from carnet_cloud.store.database import Database


@dataclass(frozen=True, slots=True)
class Device:
    """One pairing of a unit with a vehicle. ``state``: active, quarantined (cloned or rolled back), ended."""

    device: bytes
    vehicle: bytes
    tenant: str
    epoch: int
    sign_key: bytes
    receive_key: bytes
    state: str


class Devices:
    """Finds, adds and changes units; pins owners' keys."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, device: bytes) -> Device | None:
        row = self._db.execute(
            "select device, vehicle, tenant, epoch, sign_key, receive_key, state from device where device = ?",
            (device,),
        ).fetchone()
        return Device(*row) if row else None

    def of_vehicle(self, vehicle: bytes) -> list[Device]:
        rows = self._db.execute(
            "select device, vehicle, tenant, epoch, sign_key, receive_key, state from device"
            " where vehicle = ? order by device",
            (vehicle,),
        )
        return [Device(*row) for row in rows]

    def vehicles(self) -> list[bytes]:
        """Every vehicle that a unit was ever enrolled in."""
        return [bytes(row[0]) for row in self._db.execute("select distinct vehicle from device order by vehicle")]

    def add(self, device: Device, now_ms: int) -> None:
        """The caller has looked whether the device id exists: a second one is an error of the database."""
        self._db.execute(
            "insert into device (device, vehicle, tenant, epoch, sign_key, receive_key, state, enrolled_ms)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                device.device,
                device.vehicle,
                device.tenant,
                device.epoch,
                device.sign_key,
                device.receive_key,
                device.state,
                now_ms,
            ),
        )

    def set_state(self, device: bytes, state: str) -> None:
        self._db.execute("update device set state = ? where device = ?", (state, device))

    def end(self, device: bytes, now_ms: int) -> None:
        """Its pairing has ended, for ever; a second time changes nothing."""
        self._db.execute(
            "update device set state = 'ended', ended_ms = ? where device = ? and state != 'ended'", (now_ms, device)
        )

    def ended_ms(self, device: bytes) -> int | None:
        """When its pairing ended, if it has and that was written down."""
        row = self._db.execute("select ended_ms from device where device = ?", (device,)).fetchone()
        return row[0] if row else None

    def has_tenant(self, tenant: str) -> bool:
        """Whether a unit was ever enrolled for this tenant."""
        return self._db.execute("select 1 from device where tenant = ? limit 1", (tenant,)).fetchone() is not None

    def tenants(self, limit: int) -> list[str]:
        """The first of the tenants that units were enrolled for."""
        rows = self._db.execute("select distinct tenant from device order by tenant limit ?", (limit,))
        return [row[0] for row in rows]

    def owner_keys(self, vehicle: bytes, epoch: int) -> dict[str, bytes]:
        """JWK thumbprint (RFC 7638) -> Ed25519 public key (32 bytes)."""
        rows = self._db.execute(
            "select thumbprint, public_key from owner_key where vehicle = ? and epoch = ? order by thumbprint",
            (vehicle, epoch),
        )
        return {thumbprint: bytes(key) for thumbprint, key in rows}

    def pin_owner_key(self, vehicle: bytes, epoch: int, thumbprint: str, public_key: bytes) -> None:
        self._db.execute(
            "insert into owner_key values (?, ?, ?, ?) on conflict do nothing",
            (vehicle, epoch, thumbprint, public_key),
        )

    def owner_tokens(self, vehicle: bytes, epoch: int) -> tuple[str, ...]:
        """By which further keys were added and removed, as they came."""
        rows = self._db.execute(
            "select token from owner_token where vehicle = ? and epoch = ? order by number", (vehicle, epoch)
        )
        return tuple(row[0] for row in rows)

    def add_owner_token(self, vehicle: bytes, epoch: int, number: int, token: str) -> None:
        self._db.execute("insert into owner_token values (?, ?, ?, ?)", (vehicle, epoch, number, token))
