"""An attempt at a job: its lease, its fence, and what a task may call on it.

Every write carries the attempt's number; no row matched means that the job was cancelled, deleted
or given to another worker, and the attempt stops with RunEnded. A thread renews the lease.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import Connection, delete, event, select
from sqlalchemy.exc import DBAPIError, OperationalError

from webapp.databases import reason_of
from webapp.errors import RunEnded
from webapp.extensions import db
from webapp.jobs import transitions
from webapp.jobs.models import DONE, RUNNING, Checkpoint, Ending, Job, StatusLine, Task
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert

log = logging.getLogger(__name__)
T = TypeVar("T")

LINES_PER_SECOND = 8.0
DATABASE_PATIENCE_S = 60.0
RENEW_AGAIN_S = 0.5
# How often a bar moves between two writes.
SHOWN_EVERY_S = 0.5
# A reader hears something at least every ten seconds.
SILENT_S = 9.0
# Of 1000: what the bar shows at most before the end is written.
ALMOST = 990


class Attempt:
    """One attempt of one worker. Thread-safe; every call raises RunEnded once it was given up.

    asked_at: when the job was asked for
    """

    def __init__(self, app: Flask, task: Task, job: Job, secrets: dict[str, str]) -> None:
        self._app = app
        self._engine = db.engine
        self.task = task
        self.job_id = job.id
        self.company_id = job.company_id
        self.user_id = job.user_id
        self.number = job.attempt
        self.asked_at = job.created_at
        self.secrets = secrets
        self.is_finished = False
        self._lock = threading.RLock()
        self._done, self._total, self._told = 0, 0, (0, 0)
        # The bar's present stretch: from where it was at `_since` steps up to where it ends.
        self._stage, self._since, self._from, self._upto = "", 0, job.permille, 1000
        self.hold_up: Callable[[], str] = lambda: ""
        self._heard = time.monotonic()
        self._shown_at = 0.0
        self._allowance, self._spoken = LINES_PER_SECOND, time.monotonic()
        self._over = threading.Event()
        self._lease = timedelta(seconds=app.config["LEASE_SECONDS"])
        self._stop_renewing = threading.Event()

    # What a task calls

    def check(self) -> None:
        """Raise RunEnded if the job was cancelled or handed to another worker."""
        if self._over.is_set():
            raise RunEnded("The job was cancelled or given to another worker.")

    def set_total(self, total: int) -> None:
        """Set how many steps there are in all."""
        with self._lock:
            self._from, self._since = self._permille(), self._done
            self._total = max(total, self._done)

    def stage(self, text: str, upto: float = 1.0) -> None:
        """Say what is done from now on, and where the bar stands once it is, of 1."""
        with self._lock:
            self._from, self._since = self._permille(), self._done
            self._stage, self._upto = text, max(self._from, int(upto * 1000))

    def _permille(self) -> int:
        """Return how far the bar is; a total that grows slows it down and never turns it back."""
        steps, ahead = self._done - self._since, self._total - self._since
        return self._from + (self._upto - self._from) * steps // ahead if ahead else self._from

    def advance(self, text: str | None = None, *, by: int = 1) -> None:
        """Count steps done; the text becomes a line, but not more than a few a second."""
        self.check()
        with self._lock:
            self._done += by
            self._total = max(self._total, self._done)
            spoken = text if text is not None and self._may_speak() else None
            shown_at, now = self._shown_at, time.monotonic()
            if now - shown_at >= SHOWN_EVERY_S:
                self._shown_at = now
        if spoken is not None:
            self.log(spoken)
        elif now - shown_at >= SHOWN_EVERY_S:
            with self._app.app_context():
                transitions.show_progress(self.job_id, min(self._permille(), ALMOST))

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
        """Store and publish a status line."""
        self.check()
        with self._lock:
            line = self.retry_while_database_is_down(lambda: self._store_line(text, level))
            self._publish(line)

    def _store_line(self, text: str, level: str = "info") -> StatusLine:
        with self._noticing(), self._engine.begin() as connection:
            line, _ = transitions.add_line(
                connection, self.fence(), text, level, **self._progress()
            )
            self.write_along(connection)
            return line

    def _publish(self, line: StatusLine) -> None:
        self._told, self._heard = (line.done, line.total), time.monotonic()
        with self._app.app_context():
            transitions.publish_line(line)

    def _say_still_at_it(self) -> None:
        """Tell who waits that the work goes on, where nothing else was told for a while."""
        if time.monotonic() - self._heard < SILENT_S or not self._lock.acquire(blocking=False):
            return
        try:
            progress = self._progress()
            stage = progress["stage"] or "Still at work"
            steps = f", {self._done:,} of {self._total:,} steps" if self._total else ""
            self._publish(self._store_line(f"{stage}{steps}."))
        finally:
            self._lock.release()

    def save_checkpoints(self, entries: Mapping[str, Any]) -> None:
        """Keep partial answers (JSON) for another attempt at this job."""
        if not entries:
            return
        self.check()
        rows = [{"job_id": self.job_id, "key": key, "data": data} for key, data in entries.items()]

        def write() -> None:
            with self.fenced() as connection:
                statement = upsert(connection, Checkpoint)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["job_id", "key"], set_={"data": statement.excluded.data}
                    ),
                    rows,
                )

        self.retry_while_database_is_down(write)

    def load_checkpoints(self, prefix: str = "") -> dict[str, Any]:
        """Return what earlier attempts at this job kept, by key."""

        def read() -> dict[str, Any]:
            with self._engine.connect() as connection:
                rows = connection.execute(
                    select(Checkpoint.key, Checkpoint.data).where(
                        Checkpoint.job_id == self.job_id,
                        Checkpoint.key.startswith(prefix, autoescape=True),
                    )
                )
                return {row.key: row.data for row in rows}

        return self.retry_while_database_is_down(read)

    def finish(
        self, status: str = DONE, write: Callable[[Connection], object] = lambda _: None
    ) -> None:
        """End the job, and write what it found out in the same transaction.

        A job that is done has all its steps behind it, also those it turned out not to need; where
        the last line said otherwise, or was one too many to be told, another one says so. A task
        that returns without a call of this is done.
        """
        line = None
        if status == DONE:
            with self._lock:
                self._done = self._total
            if self._told != (self._done, self._total):
                line = f"The {self.task.noun} is done."

        def end() -> Callable[[], None]:
            with self.fenced() as connection:
                write(connection)
                if status == DONE:
                    connection.execute(delete(Checkpoint).where(Checkpoint.job_id == self.job_id))
                return transitions.end_within(connection, self.fence(), Ending(status), line=line)

        with self._app.app_context(), self._noticing():
            tell = self.retry_while_database_is_down(end)
            self.is_finished = True
            name = self.task.name
            log.info("%s %s is %s", self.task.noun, self.job_id, status, extra={"kind": name})
            tell()

    # The fence

    def fence(self) -> Any:
        """Return the condition that every write of this attempt carries."""
        return (Job.id == self.job_id) & (Job.attempt == self.number) & (Job.status == RUNNING)

    @contextmanager
    def fenced(self, **values: Any) -> Iterator[Connection]:
        """Open a transaction that changes the job's row and belongs to this attempt."""
        with self._engine.begin() as connection:
            with self._noticing():
                transitions.change(connection, self.fence(), {**self._progress(), **values})
            self.write_along(connection)
            yield connection

    @contextmanager
    def fenced_commits(self) -> Iterator[None]:
        """Let all that this thread commits while the block runs belong to this attempt.

        Each commit renews the lease along. SQLite has one writer: nobody can renew it beside a
        long transaction, so right after its commit a janitor would begin the job again.
        """
        mine = threading.get_ident()

        def renew(connection: Connection) -> None:
            if threading.get_ident() != mine:
                return
            try:
                with self._noticing():
                    values = {"lease_until": utcnow() + self._lease}
                    transitions.change(connection, self.fence(), values)
            except BaseException:
                # A transaction whose commit was begun is over for SQLAlchemy: it would hand the
                # connection on with what was refused, and the next commit on it would store that.
                connection.invalidate()
                raise

        event.listen(self._engine, "commit", renew)
        try:
            yield
        finally:
            event.remove(self._engine, "commit", renew)

    def _progress(self) -> dict[str, Any]:
        """Return how far the work is; each write takes it along, so that the bar keeps up."""
        stage = "; ".join(filter(None, (self._stage, self.hold_up())))[:200]
        permille = min(self._permille(), ALMOST)
        return {"done": self._done, "total": self._total, "permille": permille, "stage": stage}

    def write_along(self, connection: Connection) -> None:
        """Write what a subclass counts beside the steps, in each fenced transaction."""

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
        except RunEnded:
            self._over.set()
            raise

    def retry_while_database_is_down(self, write: Callable[[], T]) -> T:
        """Do it again while the database is away for a moment, up to a minute."""
        deadline = time.monotonic() + DATABASE_PATIENCE_S
        pause_s = 0.1
        while True:
            try:
                return write()
            except DBAPIError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
                noun, reason = self.task.noun, reason_of(error)
                log.warning("%s %s waits for the database: %s", noun, self.job_id, reason)
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, 2.0)

    # The lease

    @contextmanager
    def leased(self) -> Iterator[None]:
        """Keep the lease while the block runs; the bar moves with each renewal."""
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop_renewing.set()
            thread.join(timeout=5)

    def _renew(self) -> None:
        due = time.monotonic() + self._lease.total_seconds() / 4
        while not self._stop_renewing.wait(min(max(due - time.monotonic(), 0), 1.0)):
            try:
                if time.monotonic() >= due:
                    with self.fenced(lease_until=utcnow() + self._lease):
                        pass
                    due = time.monotonic() + self._lease.total_seconds() / 4
                self._say_still_at_it()
            except RunEnded:
                return
            except DBAPIError as error:
                log.warning("the lease of %s waits: %s", self.job_id, reason_of(error))
                # Also where it was due: who refuses at once would be asked without rest.
                due = time.monotonic() + RENEW_AGAIN_S


def is_away(error: DBAPIError) -> bool:
    """Say whether the database was away or locked, so that trying again may help."""
    return isinstance(error, OperationalError) or error.connection_invalidated
