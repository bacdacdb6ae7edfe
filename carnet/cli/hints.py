"""What an owner can look at when the cloud is not reached, or refuses what only he can put right."""

from __future__ import annotations

import ssl

from carnet.errors import RemoteError

VEHICLE = "--vehicle takes the vehicle's id, not the unit's, which `carnet-agent pair` prints beside it"
KEY = "--key the key that it was paired with, or one that was added"

NO_TLS = frozenset({None, "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})
"""What OpenSSL calls an answer that is no TLS at all."""


def unreachable(url: str, error: BaseException | None) -> str:
    """Why nothing came back from ``url``. TLS that fails is no silence: it is the same when tried again."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{url}: its certificate is not accepted here ({cause.verify_message}): look at the name in the address"
    if isinstance(cause, ssl.SSLError):
        what = "answers without TLS" if cause.reason in NO_TLS else f"and this machine agree on no TLS ({cause.reason})"
        return f"{url} {what}: look at https:// and the port in the address"
    return f"{url} does not answer: try again later, or look at the address"


def refused(error: RemoteError) -> RemoteError:
    """The refusal; where it says only that a key is not the owner's, or of no record, with where to look."""
    look = {"jws_key": f"{VEHICLE}, and {KEY}", "record_unknown": "see  carnet owner list"}.get(error.reason)
    return type(error)(error.reason, f"{error}: {look}") if look else error
