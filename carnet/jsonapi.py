"""Shell: ask a service over HTTP, and believe nothing of how it answers.

Law: what comes back is an object of the asked shape or an `Error` with one sentence, whatever the other side sends.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

from carnet.errors import FormatError, RemoteError, UnavailableError
from carnet.shapes import Kind, Shape, fits

ANSWER_BYTES_MAX: Final = 1 << 24
WORDS_MAX: Final = 500
_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_BROKEN: Final = (ValueError, RecursionError, OSError, http.client.HTTPException)
"""What reading and parsing a body can end with."""


@dataclass(frozen=True, slots=True)
class Service:
    """Whom we ask: ``name`` for sentences; ``unreachable`` is the whole sentence if nothing answers."""

    name: str
    unreachable: str
    timeout_s: float


def ask(service: Service, request: urllib.request.Request, shape: Shape) -> dict[str, Any]:
    """The answer. UnavailableError ``cloud_unreachable``; RemoteError with the service's own reason if it refuses;
    FormatError ``cloud_answer`` for everything that is no answer of ours.
    """
    try:
        with urllib.request.urlopen(request, timeout=service.timeout_s) as answer:
            document = json.loads(answer.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error) from error
    except OSError as error:
        raise UnavailableError("cloud_unreachable", service.unreachable) from error
    except _BROKEN as error:
        raise _strange(service) from error
    if not isinstance(document, dict) or not fits(document, shape):
        raise _strange(service)
    return document


def _strange(service: Service) -> FormatError:
    return FormatError("cloud_answer", f"{service.name} does not answer as this version of Carnet expects")


def _refused(error: urllib.error.HTTPError) -> RemoteError:
    try:
        document = json.loads(error.read(ANSWER_BYTES_MAX))
    except _BROKEN:
        document = None
    if not fits(document, {"reason": Kind.TEXT, "message": Kind.TEXT}) or not _REASON.fullmatch(document["reason"]):
        return RemoteError("refused", f"the cloud answered {error.code}")
    return RemoteError(document["reason"], document["message"][:WORDS_MAX])
