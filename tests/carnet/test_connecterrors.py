"""Why a broker cannot be reached, in words that say what to do."""

from __future__ import annotations

import socket
import ssl

import pytest

from carnet.connecterrors import ALERTS, alert_in, hung_up, sentence


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "start the server there"),
        (TimeoutError("timed out"), "firewall"),
        (ConnectionResetError(104, "Connection reset by peer"), "with TLS or without"),
        (socket.gaierror(-2, "Name or service not known"), "cannot be looked up"),
        (OSError(113, "No route to host"), "it cannot be reached: No route to host"),
        (ValueError("what it was is not told"), "unexpected: ValueError"),
        (ssl.SSLEOFError(8, "EOF"), "no TLS is spoken at that port"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_is_one_sentence_that_says_what_to_look_at(error: Exception, words: str) -> None:
    said = sentence(error)
    assert words in said and "\n" not in said


@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "clock"), (10, "has expired"), (19, "another authority"), (62, "another name"), (26, "purpose")],
)
def test_a_certificate_that_is_not_accepted_is_told_by_its_kind(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "unsuitable certificate purpose"
    assert words in sentence(error)


def test_an_alert_is_found_in_what_openssl_writes_of_it() -> None:
    assert alert_in("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)") == "unknown ca"
    assert alert_in("SSLV3_ALERT_CERTIFICATE_EXPIRED") == "certificate expired"
    assert alert_in("EOF occurred in violation of protocol (_ssl.c:2427)") == ""


def test_who_hung_up_with_an_alert_is_told_by_it_and_without_one_by_what_it_may_mean() -> None:
    for alert, words in ALERTS.items():
        assert hung_up(alert, tls=True) == words
    assert "decode error" in hung_up("decode error", tls=True)
    said = "the broker closed the connection before it answered: it refuses the certificate, or speaks another MQTT "
    assert hung_up("", tls=True) == said + "version"
    assert "asks for TLS (then set mqtt.ca_file)" in hung_up("", tls=False)
