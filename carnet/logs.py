"""Shell: what programs log: one line an event, for people or as JSON for machines.

Law: a line holds the sentence that was written for it, its event and reason, counts; never what an error carried with
it, for that could hold anything. An error that nobody thought of is told by its kind and place.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from typing import Any, Final, Literal

Form = Literal["text", "json"]
PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Levels as journald knows them, see sd-daemon(3)."""


def told(event: str, reason: str = "", **counts: int) -> dict[str, Any]:
    """For ``extra`` of a log call: the name of the event, its reason as a word, and what was counted."""
    return {"event": event, "reason": reason, "counts": counts}


class Lines(logging.Formatter):
    """Each record as one line, whatever is in it; ``priorities`` puts journald's in front."""

    def __init__(self, form: Form = "text", *, priorities: bool = False) -> None:
        super().__init__("%(message)s")
        self._form = form
        self._priorities = priorities

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = _document(record) if self._form == "json" else _sentence(record)
        return f"<{PRIORITIES.get(record.levelno, 6)}>{line}" if self._priorities else line


def start(form: Form = "text") -> None:
    """Log to standard error from now on; called again once the configuration has said how."""
    # a line that cannot be made must not end in one with all its arguments
    logging.raiseExceptions = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(form, priorities=bool(os.environ.get("JOURNAL_STREAM"))))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _sentence(record: logging.LogRecord) -> str:
    line = " ".join(record.getMessage().splitlines())
    place = _error(record)
    return f"{line} ({place})" if place else line


def _document(record: logging.LogRecord) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    document: dict[str, Any] = {
        "time": f"{moment}.{int(record.msecs):03}Z",
        "level": record.levelname.lower(),
        "event": getattr(record, "event", record.name.replace(".", "_")),
    }
    if reason := getattr(record, "reason", ""):
        document["reason"] = reason
    document |= getattr(record, "counts", {})
    document["message"] = " ".join(record.getMessage().splitlines())
    if place := _error(record):
        document["error"] = place
    return json.dumps(document)


def _error(record: logging.LogRecord) -> str:
    """Kind and place of an error that a library hands over; not its words."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    frames = traceback.extract_tb(record.exc_info[2], -1)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119 - a name
    return f"{record.exc_info[0].__name__}{place}"
