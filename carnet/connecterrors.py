"""Why a broker or server cannot be reached, and what to do, in words for a log; nothing of what was sent is in them."""

from __future__ import annotations

ALERTS = {
    "unknown ca": "it refuses our certificate, which another authority has signed: have it signed by the one that the "
    "broker knows",
    "certificate expired": "it refuses our certificate, which has expired: have another one signed (and look at the "
    "broker's clock)",
    "certificate revoked": "it refuses our certificate, which was revoked: have another one signed",
    "certificate required": "it asks for a certificate: set mqtt.cert_file and mqtt.key_file",
    "unsupported certificate": "it refuses our certificate, which is not one for a client: have one signed for this "
    "party",
    "protocol version": "it speaks no version of TLS that is spoken here: look at tls_version in the broker's "
    "configuration",
}
"""What the other side's TLS says when it hangs up -> what that means."""
EXPIRED, NOT_YET, UNTRUSTED, OTHER_NAME = {10}, {9}, {2, 18, 19, 20, 21}, {62, 63, 64}
"""What OpenSSL calls a certificate that is not accepted, X509_V_ERR_*."""
DID_NOT_ANSWER = "it took the connection and does not answer: look whether it is a broker that listens at that port"


def sentence(error: Exception) -> str:
    """What to look at: name, port, certificate. The kinds are known by name, so that nothing here owns a socket."""
    kind = type(error).__name__
    if kind == "SSLCertVerificationError":
        return _certificate(error)
    if kind.startswith("SSL"):
        return _handshake(str(getattr(error, "reason", None) or ""))
    if kind == "gaierror":
        return "its name cannot be looked up: look at the host's name, and whether this machine reaches a name server"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens at that port: start the server there, or look at host and port"
    if isinstance(error, ConnectionResetError):
        return "it cut the connection: look whether that port speaks what it is asked for, with TLS or without"
    if isinstance(error, TimeoutError):
        return "nothing comes back: look at host and port, and whether a firewall drops what is sent"
    if isinstance(error, OSError):
        return f"it cannot be reached: {error.strerror or kind}"
    return f"unexpected: {kind}"


def hung_up(alert: str, *, tls: bool) -> str:
    """Why it ended a connection that it had not answered on; ``alert`` is what its TLS said last, if anything."""
    if alert:
        return ALERTS.get(alert, f"it ended TLS: {alert}; look at its log")
    asked = "refuses the certificate" if tls else "asks for TLS (then set mqtt.ca_file)"
    return f"the broker closed the connection before it answered: it {asked}, or speaks another MQTT version"


def alert_in(text: str) -> str:
    """The alert that a message of OpenSSL's tells of, such as ``unknown ca``; empty if there is none."""
    words = text.lower().replace("_", " ")
    return words.partition(" alert ")[2].partition("]")[0].partition(" (")[0].strip()


def _handshake(reason: str) -> str:
    alert = alert_in(reason)
    if alert:
        return hung_up(alert, tls=True)
    if reason in {"", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "no TLS is spoken at that port: look at the port, and whether the server has a certificate"
    return f"no TLS: {reason}; look at the server's log"


def _certificate(error: Exception) -> str:
    code = getattr(error, "verify_code", 0)
    said = getattr(error, "verify_message", "") or "look at ca_file"
    if code in EXPIRED:
        return "its certificate has expired: install another one there (and look at this machine's clock)"
    if code in NOT_YET:
        return "its certificate is not yet valid: this machine's clock is behind; it is tried again, wait for the time"
    if code in UNTRUSTED:
        return "its certificate is signed by another authority than ca_file: install the ca.pem of its authority"
    if code in OTHER_NAME:
        return "its certificate is for another name: write the name in it as host, or issue one for this host"
    return f"its certificate is not accepted: {said}"
