"""A run: one attempt at a report, with its lease, its fence, and what a kind may call on it.

Every write carries the attempt number; no row matched means that the report was cancelled, deleted
or given to another worker, and the attempt stops with RunEnded. A thread renews the lease.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError

from webapp.engine import progress
from webapp.engine.models import RUNNING, Checkpoint, Report, StatusLine
from webapp.engine.months import CompanyMonths
from webapp.errors import RunEnded
from webapp.extensions import db, report_queue
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)
T = TypeVar("T")

LINES_PER_SECOND = 8.0
DATABASE_PATIENCE_S = 60.0
RENEW_AGAIN_S = 0.5


class ActiveRun:
    """The `Run` of engine/kind.py over the database. Thread-safe."""

    def __init__(self, app: Flask, report: Report, secrets: dict[str, str]) -> None:
        self._app = app
        self._engine = db.engine
        self.report_id = report.id
        self.company_id = report.company_id
        self.user_id = report.requested_by
        self.kind = report.kind
        self.attempt = report.attempt
        self.asked_at = report.created_at
        self.secrets = secrets
        self.months = CompanyMonths(
            self._engine,
            report.company_id,
            report.kind,
            app.config["MONTHS_KEPT_DAYS"],
            self.fenced,
            self._patiently,
            partial(app.extensions["counters"].add, "months", report.kind),
        )
        self._lock = threading.RLock()
        self._done, self._total, self._told = 0, 0, (0, 0)
        self._made, self._saved = report.calls_made, report.calls_saved
        self._allowance, self._spoken = LINES_PER_SECOND, time.monotonic()
        self._over = threading.Event()
        self._lease = timedelta(seconds=app.config["LEASE_SECONDS"])
        self._stop_renewing = threading.Event()

    def mine(self) -> Any:
        """Return the condition that fences every write of this attempt."""
        return (
            (Report.id == self.report_id)
            & (Report.attempt == self.attempt)
            & (Report.status == RUNNING)
        )

    @contextmanager
    def fenced(self) -> Iterator[Connection]:
        """Open a transaction that holds the report's row and belongs to this attempt."""
        with self._engine.begin() as connection:
            self._touch(connection, self._counters())
            yield connection

    def _counters(self) -> dict[str, int]:
        """Return how far the run is; each write takes them along, so that the bar keeps up."""
        return {
            "done": self._done,
            "total": self._total,
            "calls_made": self._made,
            "calls_saved": self._saved,
        }

    def _touch(self, connection: Connection, values: Mapping[str, Any]) -> None:
        if connection.execute(update(Report).where(self.mine()).values(values)).rowcount != 1:
            self._over.set()
            raise RunEnded("The report was cancelled or given to another worker.")

    def _patiently(self, write: Callable[[], T]) -> T:
        """Run a write again while the database is away for a moment, up to a minute."""
        deadline = time.monotonic() + DATABASE_PATIENCE_S
        pause_s = 0.1
        while True:
            try:
                return write()
            except DBAPIError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
                log.warning("report %s waits for the database", self.report_id)
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 2.0)

    # What a kind calls

    def check(self) -> None:
        if self._over.is_set():
            raise RunEnded("The report was cancelled or given to another worker.")

    def set_total(self, total: int) -> None:
        with self._lock:
            self._total = max(total, self._done)

    def calls(self, *, made: int = 0, saved: int = 0) -> None:
        with self._lock:
            self._made += made
            self._saved += saved

    @property
    def calls_made(self) -> int:
        return self._made

    @property
    def calls_saved(self) -> int:
        return self._saved

    def advance(self, text: str | None = None, *, by: int = 1) -> None:
        self.check()
        with self._lock:
            self._done += by
            self._total = max(self._total, self._done)
            speak = text is not None and self._may_speak()
        if speak and text is not None:
            self.log(text)

    def _may_speak(self) -> bool:
        """Say whether another routine line fits: a few a second, with a burst of as many."""
        now = time.monotonic()
        earned = (now - self._spoken) * LINES_PER_SECOND
        self._allowance = min(self._allowance + earned, LINES_PER_SECOND * 3)
        self._spoken = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def log(self, text: str, *, level: str = "info") -> None:
        self.check()
        with self._lock:
            line = self._patiently(lambda: self._store_line(text, level))
            with self._app.app_context():
                progress.publish(
                    self.report_id, progress.Event("status", line.seq, progress.line_data(line))
                )

    def _store_line(self, text: str, level: str) -> StatusLine:
        with self._engine.begin() as connection:
            return self.add_line(connection, text, level)

    def add_line(self, connection: Connection, text: str, level: str) -> StatusLine:
        """Store a line, fenced, in a transaction of the caller's."""
        self._touch(connection, {"last_seq": Report.last_seq + 1, **self._counters()})
        self._told = (self._done, self._total)
        return add_line(connection, self.report_id, text, level, self._done, self._total)

    def fill_bar(self) -> bool:
        """Count all steps as done; say whether the last line said the same."""
        with self._lock:
            self._done = self._total
            return self._told == (self._done, self._total)

    def call_helpers(self, hands: int) -> None:
        try:
            with self._app.app_context():
                for number in range(1, hands + 1):
                    report_queue().enqueue_call(
                        "webapp.engine.helpers.help_report",
                        args=(self.report_id, self.attempt, number),
                        job_id=f"{self.report_id}_{self.attempt}_{number}",
                        timeout=self._app.config["REPORT_TIMEOUT_SECONDS"],
                        result_ttl=600,
                        failure_ttl=3600,
                        description=f"{self.kind} helper",
                    )
        except RedisError as error:
            log.warning("report %s has no helpers: %s", self.report_id, type(error).__name__)

    def save_checkpoints(self, entries: Mapping[str, Any]) -> None:
        if not entries:
            return
        self.check()
        rows = [
            {"report_id": self.report_id, "key": key, "data": data} for key, data in entries.items()
        ]

        def write() -> None:
            with self.fenced() as connection:
                connection.execute(_checkpoint_upsert(connection.dialect.name), rows)

        self._patiently(write)

    def load_checkpoints(self, prefix: str = "") -> dict[str, Any]:
        def read() -> dict[str, Any]:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    select(Checkpoint.key, Checkpoint.data).where(
                        Checkpoint.report_id == self.report_id,
                        Checkpoint.key.startswith(prefix, autoescape=True),
                    )
                )
                return {row.key: row.data for row in rows}

        return self._patiently(read)

    # The lease

    @contextmanager
    def leased(self) -> Iterator[None]:
        """Keep the lease while the block runs; flush the bar's counters at each renewal."""
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop_renewing.set()
            thread.join(timeout=5)

    def _renew(self) -> None:
        pause_s = self._lease.total_seconds() / 4
        while not self._stop_renewing.wait(pause_s):
            pause_s = self._lease.total_seconds() / 4
            try:
                with self._engine.begin() as connection:
                    lease = {"lease_until": utcnow() + self._lease}
                    self._touch(connection, lease | self._counters())
            except RunEnded:
                return
            except DBAPIError as error:
                log.warning("the lease of %s waits: %s", self.report_id, type(error).__name__)
                pause_s = min(pause_s, RENEW_AGAIN_S)


def is_away(error: DBAPIError) -> bool:
    """Say whether the database was away or locked, so that trying again may help."""
    return isinstance(error, OperationalError) or error.connection_invalidated


def add_line(
    connection: Connection, report_id: str, text: str, level: str, done: int, total: int
) -> StatusLine:
    """Store a line with the number its report has just been given, in the same transaction."""
    seq = connection.execute(select(Report.last_seq).where(Report.id == report_id)).scalar_one()
    values: dict[str, Any] = {
        "report_id": report_id,
        "seq": seq,
        "at": utcnow(),
        "level": level,
        "text": _storable(text)[:2000],
        "done": done,
        "total": total,
    }
    connection.execute(insert(StatusLine), values)
    return StatusLine(**values)


def _storable(text: str) -> str:
    """Return a text every database takes: without NUL and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _checkpoint_upsert(dialect: str) -> Any:
    maker = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = maker(Checkpoint)
    return statement.on_conflict_do_update(
        index_elements=["report_id", "key"], set_={"data": statement.excluded.data}
    )
