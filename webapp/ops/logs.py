"""Logs: one line a record on stderr, as JSON for collectors or as text for a terminal.

Every record says when, how bad, who (logger, program) and what; and, where it is known, which
report, which kind, which request and which user. What may hold what somebody typed is left out: an
exception is told by its type and its place, not its words; a path without its query and its tokens.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import re
import select
import sys
import threading
import time
import traceback
from collections import deque
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from webapp.databases import trouble_of
from webapp.errors import ReportError
from webapp.lib.moments import rfc3339, utcnow
from webapp.tracing import request_id

FORMATS = ("json", "text")
FACTS = ("report_id", "kind", "request_id", "user")
MORE = ("method", "path", "status", "duration_ms")
_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}
_TOKEN = re.compile(r"(/(?:invite|reset|confirm|unsubscribe|shared)/)[^/]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST = 8000
# `json.dumps` with an option makes an encoder each time.
_as_json = json.JSONEncoder(default=str).encode
STDERR = 2
MOST_GATHERED = 1000
# Of warnings that differ in nothing but what they name, so many are written in so long.
MOST_ALIKE, ALIKE_S = 5, 5.0

# What no line says is not looked for.
logging.logThreads = logging.logMultiprocessing = False
logging._srcfile = None

access_log = logging.getLogger("webapp.access")
_process_facts: dict[str, str] = {}


class AddFacts(logging.Filter):
    """Adds to each record what is known where it is made."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: no record is left out."""
        facts = {**_process_facts, **_request_facts()}
        if record.name.startswith("webapp.") and isinstance(record.args, tuple):
            # The report that a message of the engine names.
            for arg in reversed(record.args):
                if isinstance(arg, str) and _UUID.fullmatch(arg):
                    facts["report_id"] = arg
        for name, value in facts.items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


class FewAlike(logging.Filter):
    """Lets pass a few of those of our warnings that say the same of different things.

    While Redis or the database is away each line, listener and try says that it waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is one of the first few; the last of those says so."""
        if record.levelno != logging.WARNING or not record.name.startswith("webapp."):
            return True
        sentence, now = (record.name, str(record.msg)), time.monotonic()
        began, count = self._passed.get(sentence, (now, 0))
        if now - began >= ALIKE_S:
            began, count = now, 0
        self._passed[sentence] = (began, count + 1)
        if count + 1 == MOST_ALIKE:
            record.msg = f"{record.msg} (more like this are left out for a few seconds)"
        return count < MOST_ALIKE


class JsonLines(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line: dict[str, Any] = {
            "time": rfc3339(datetime.fromtimestamp(record.created, UTC), "milliseconds"),
            "level": _LEVELS.get(record.levelname, record.levelname.lower()),
            "logger": record.name,
            "message": message_of(record),
            "program": self._program,
            "pid": record.process,
        }
        for name in (*FACTS, *MORE):
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = place_of(record.exc_info[1])
        return _as_json(line)


class Lines(logging.Handler):
    """Writes each record's line to stderr in one piece, and lets no thread wait for another one.

    Who finds nobody writing writes what has gathered: a lock around the writing made the threads of
    a busy web process queue up behind each other. The system keeps what is written at once apart
    from what other processes write, up to 4,096 bytes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._begin_empty()
        # A process that is forked while another thread writes would wait for it for ever.
        os.register_at_fork(after_in_child=self._begin_empty)

    def _begin_empty(self) -> None:
        self._gathered: deque[bytes] = deque()
        self._writing = threading.Lock()

    def createLock(self) -> None:  # noqa: N802 (the name is logging's)
        """Make none."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write what the filters let through."""
        passed = bool(self.filter(record))
        if passed:
            self.emit(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or leave it to who is writing."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            self._gathered.append(line)
            # Again where something came between the last look and the end of the writing; with
            # too much that waits, for whoever writes: nobody may be reading.
            while self._gathered and self._writing.acquire(len(self._gathered) > MOST_GATHERED):
                try:
                    self._write_gathered()
                finally:
                    self._writing.release()
        except (OSError, LookupError, TypeError, ValueError):
            # A record that cannot be written ends no request.
            self.handleError(record)

    def _write_gathered(self) -> None:
        while self._gathered:
            lines = self._gathered.popleft()
            while self._gathered and len(lines) + len(self._gathered[0]) <= select.PIPE_BUF:
                lines += self._gathered.popleft()
            while lines:
                lines = lines[os.write(STDERR, lines) :]


class TextLines(logging.Formatter):
    """A short line for a terminal; the place of an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        facts = [f"{name}={value}" for name in FACTS if (value := getattr(record, name, None))]
        at = datetime.fromtimestamp(record.created, UTC)
        told = f"{at:%H:%M:%S} {record.levelname.lower()} {plain(message_of(record))}"
        if facts:
            told += f" ({' '.join(facts)})"
        if record.exc_info and record.exc_info[1] is not None:
            told += f"\n{place_of(record.exc_info[1])}"
        return told


def settings(program: str, log_format: str, level: str) -> dict[str, Any]:
    """Return the configuration of `logging` for one program; gunicorn takes it as it is."""
    formatter: dict[str, str] = {"()": f"{__name__}.TextLines"}
    if log_format == "json":
        formatter = {"()": f"{__name__}.JsonLines", "program": program}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "few": {"()": f"{__name__}.FewAlike"},
            "facts": {"()": f"{__name__}.AddFacts"},
        },
        "formatters": {"line": formatter},
        "handlers": {
            "out": {"()": f"{__name__}.Lines", "formatter": "line", "filters": ["few", "facts"]}
        },
        "root": {"handlers": ["out"], "level": "WARNING"},
        "loggers": {
            "webapp": {"level": level.upper()},
            "gunicorn.error": {"handlers": ["out"], "propagate": False},
        },
    }


def set_up(program: str, log_format: str, level: str) -> None:
    """Let this process log; also what no one caught, in the main thread and in others."""
    logging.config.dictConfig(settings(program, log_format, level))
    logging.captureWarnings(True)
    log = logging.getLogger("webapp.uncaught")

    def uncaught(
        _kind: type[BaseException], error: BaseException, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            return
        # Of a database or Redis that is away, the place in the code says nothing.
        trouble = trouble_of(error) if isinstance(error, Exception) else None
        said = f"{type(error).__name__} ended this process" + (f": {trouble}" if trouble else "")
        log.critical(said, exc_info=None if trouble else error)

    def uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
            name = type(found.exc_value).__name__
            log.error("%s ended a thread", name, exc_info=found.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


def about(**facts: str | None) -> None:
    """Say what this whole process is about; a work-horse makes one report."""
    _process_facts.clear()
    _process_facts.update({name: value for name, value in facts.items() if value})


def init_app(app: Flask) -> None:
    """Log each answered request, without its query: `webapp.access`."""
    app.before_request(lambda: setattr(g, "began", time.monotonic()))
    app.after_request(_log_access)


def message_of(record: logging.LogRecord) -> str:
    """Return a record's message; RQ's own ends before the traceback it writes into it."""
    message = record.getMessage()[:_MOST]
    return message.partition("\n")[0] if record.name.startswith("rq.") else message


def plain(text: str) -> str:
    """Return a text that neither looks like another line nor steers a terminal."""
    if text.isprintable():
        return text
    lines = ("".join(c if c.isprintable() else " " for c in line) for line in text.split("\n"))
    return "\n    ".join(lines)


def place_of(error: BaseException) -> str:
    """Return an exception's type and frames, and its words only where they are ours to show."""
    frames = "".join(traceback.format_tb(error.__traceback__))[-_MOST:]
    words = f": {error.message}" if isinstance(error, ReportError) else ""
    return f"{type(error).__name__}{words}\n{frames}"


def program_line(name: str, text: str) -> str:
    """Return a program's line as `flask up` passes it on: JSON, which stays as it is if it was."""
    if text.startswith('{"time": '):
        return text
    line = {"time": rfc3339(utcnow(), "milliseconds"), "level": "info", "logger": name}
    return json.dumps(line | {"message": text, "program": name, "pid": os.getpid()})


def _request_facts() -> dict[str, str]:
    if not has_request_context():
        return {}
    facts = {"request_id": request_id() or ""}
    if report_id := (request.view_args or {}).get("report_id"):
        facts["report_id"] = str(report_id)
    if scope := g.get("accounts_scope"):
        facts["user"] = str(scope.user_id)
    return facts


def _log_access(response: Response) -> Response:
    # What comes hundreds of times a second, all alike, is counted; a line each only for who asks.
    is_routine = response.status_code < 400 and g.get("is_routine", False)
    level = logging.DEBUG if is_routine else logging.INFO
    if not access_log.isEnabledFor(level):
        return response
    # Without the tokens it may hold.
    method, path = request.method, plain(_TOKEN.sub(r"\1…", request.path))
    path = path.replace("\n", " ")[:500]
    more = {
        "method": method,
        "path": path,
        "status": response.status_code,
        "duration_ms": round((time.monotonic() - g.get("began", time.monotonic())) * 1000, 1),
    }
    access_log.log(level, "%s %s %s", method, path, response.status_code, extra=more)
    return response
