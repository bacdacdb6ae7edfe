"""Shell: TLS to the broker, for unit and receiver alike: what is shown there, and what it said before it hung up.

Law: a file that cannot be used is named by its key in the configuration; nothing of what is in it is ever told.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from carnet.connecterrors import alert_in
from carnet.errors import ConfigError

CREDENTIALS: Final = Path("/run/credentials")
NOT_RUNNING: Final = "systemd puts it there only while the service runs: start the service, then ask again"


def missing(path: Path, error: OSError) -> str:
    """Why a file cannot be read, and what to do if it is one that systemd hands over."""
    said = f"{path} cannot be read: {error.strerror}"
    return f"{said}; {NOT_RUNNING}" if path.is_relative_to(CREDENTIALS) else said


def context(ca_file: Path, cert_file: Path | None, key_file: Path | None, section: str = "mqtt") -> ssl.SSLContext:
    """What the broker is checked with and shown; ConfigError ``mqtt_tls`` says which file of the section is wrong."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.sslsocket_class = _Closing
    _read(f"{section}.ca_file", ca_file)
    try:
        made.load_verify_locations(cafile=str(ca_file))
    except OSError as error:
        # ssl's errors are OSErrors too
        raise ConfigError(
            "mqtt_tls", f"{section}.ca_file holds no certificate: it must be the authority's ca.pem"
        ) from error
    if cert_file is not None and key_file is not None:
        certificate, key = _read(f"{section}.cert_file", cert_file), _read(f"{section}.key_file", key_file)
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            made.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            raise ConfigError("mqtt_tls", _unusable(section, certificate, key)) from error
    return made


def names(certificate: Path, party: str) -> bool:
    """Whether the first certificate in this file has the party's name in it."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = begin + certificate.read_text("ascii", "replace").partition(begin)[2].partition(end)[0] + end
    return party.encode() in ssl.PEM_cert_to_DER_cert(first)


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("mqtt_tls", f"{name}: {missing(path, error)}") from error


def _unusable(section: str, certificate: bytes, key: bytes) -> str:
    """What is wrong with a certificate and its key that OpenSSL does not take."""
    if b"BEGIN CERTIFICATE-" not in certificate:
        swapped = b"PRIVATE KEY-" in certificate
        return (
            f"{section}.cert_file holds no certificate{f': is it swapped with {section}.key_file?' if swapped else ''}"
        )
    if b"PRIVATE KEY-" not in key:
        return f"{section}.key_file holds no key: it must be the one that the certificate was asked for with"
    if b"ENCRYPTED" in key:
        return f"{section}.key_file is locked with a password: make a key without one, for nobody is there to type it"
    return f"{section}.key_file is not the key of {section}.cert_file: install the two that were made together"


class _Closing(ssl.SSLSocket):
    """Closed when its handshake fails; paho would leave that to whoever collects garbage."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class LastWords:
    """What the broker's TLS said at the end of a paho client's connection.

    A broker judges a certificate after the handshake of TLS 1.3. Its alert may come while we still send, and paho then
    closes the socket without reading it.
    """

    def __init__(self, client: Any) -> None:
        self.alert = ""
        client.on_log = self._on_log
        client.on_socket_close = self._on_socket_close

    def _on_log(self, _client: object, _data: object, _level: object, text: str) -> None:
        if text.startswith("failed to receive"):
            self.alert = self.alert or alert_in(text)

    def _on_socket_close(self, _client: object, _data: object, opened: Any) -> None:
        if isinstance(opened, ssl.SSLSocket) and not self.alert:
            try:
                opened.setblocking(False)
                opened.recv(1)
            except OSError as error:
                self.alert = alert_in(str(error))
