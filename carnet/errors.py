"""Every error of Carnet in one tree: the class says whose fault it is, ``temporary`` whether to try again.

    Error
    ├── ConfigError            the operator's file or command line is wrong
    ├── LocalProtocolError     our own caller asked for nonsense
    ├── RemoteError            the other side sent what it must not: refused, nothing is forwarded
    │   ├── FormatError        bytes that cannot be parsed: truncated, oversized, trailing, not canonical
    │   ├── SignatureError     a signature is wrong, missing or by a key that may not sign this
    │   ├── OpenError          a box does not open, or opens to something bound to another place
    │   ├── ConsentError       an offer, record, event or grant set is refused
    │   └── LedgerError        a proof, receipt or account of the transparency log does not show what it claims
    ├── FileError              a local input file is broken; the sentence names file and line
    │   ├── CaptureError       a capture
    │   ├── DbcError           a CAN database
    │   └── MappingError       a mapping file
    └── UnavailableError       something is not there right now: neither acknowledge nor refuse

Law: ``str(error)`` never holds a reading, a VIN or a key; it may go into a log as it is.
"""

from __future__ import annotations


class Error(Exception):
    """Base of all. ``reason`` is a short snake_case word that is counted;
    ``message`` one sentence that says what to do.
    """

    temporary = False

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(message or reason.replace("_", " "))
        self.reason = reason


class ConfigError(Error):
    """The operator's configuration or command line is wrong; nothing was started."""


class LocalProtocolError(Error):
    """Our own caller asked for something that has no meaning."""


class RemoteError(Error):
    """The other side sent what it must not; the bytes are refused and nothing is forwarded."""


class FormatError(RemoteError):
    """The bytes cannot be parsed: truncated, oversized, trailing or not canonical."""


class SignatureError(RemoteError):
    """A signature is wrong, missing, or made by a key that may not sign this."""


class OpenError(RemoteError):
    """A box does not open, or opens to something that was bound to another place."""


class ConsentError(RemoteError):
    """An offer, record, event or grant set is refused."""


class LedgerError(RemoteError):
    """A proof, receipt or account of the transparency log does not show what it claims."""


class FileError(Error):
    """A local input file is broken; the sentence names the file and the line."""


class CaptureError(FileError):
    """A capture file cannot be read."""


class DbcError(FileError):
    """A CAN database cannot be used."""


class MappingError(FileError):
    """A mapping file cannot be used."""


class UnavailableError(Error):
    """Something is not there right now; try again later. Neither an acknowledgement nor a refusal follows."""

    temporary = True
