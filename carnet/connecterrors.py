"""Why a broker or server cannot be reached, in words for a log; nothing of what was sent is in them."""

from __future__ import annotations


def sentence(error: Exception) -> str:
    """What to look at: name, port, certificate. The kinds are known by name, so that nothing here owns a socket."""
    kind = type(error).__name__
    if kind == "SSLCertVerificationError":
        return f"its certificate is not accepted: {getattr(error, 'verify_message', '') or 'look at ca_file'}"
    if kind.startswith("SSL"):
        return f"no TLS: {getattr(error, 'reason', None) or 'the handshake failed'}"
    if kind == "gaierror":
        return "its name cannot be looked up"
    if isinstance(error, OSError):
        return f"it cannot be reached: {error.strerror or kind}"
    return f"unexpected: {kind}"
