"""Status lines: publish them, and listen to them without a gap.

A line is stored with its number first (jobs/transitions.py) and then published through flask-sse on
the channel of its job. The database is the truth: what a listener missed — because it came late,
came back, or Redis was away — it reads there, so every line arrives exactly once and in order.

flask-sse by itself opens a Redis connection per listener, notices a closed browser only at the next
message, sends no heartbeat and ignores Last-Event-ID. This module keeps its publishing and replaces
its listening: one subscription connection per process (`Hub`), a queue per listener.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Callable, Iterator
from select import POLLHUP, POLLIN, poll
from typing import Any

from flask import Flask, current_app
from flask_sse import ServerSentEventsBlueprint
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.extensions import db, quick_redis
from webapp.jobs.hub import Event, Hub
from webapp.jobs.models import ACTIVE, Job, StatusLine
from webapp.lib.moments import rfc3339

log = logging.getLogger(__name__)

POLL_S = 1.0


class LinePublisher(ServerSentEventsBlueprint):
    """flask-sse's publisher over one pooled client instead of a new one each time.

    The line is stored already, so a Redis that hangs must not keep a job from going on.
    """

    @property
    def redis(self) -> Redis:
        return quick_redis()


def init_app(app: Flask) -> None:
    """Give the application its publisher and its hub; made fresh, they hold this app's Redis."""
    app.extensions["line_publisher"] = LinePublisher("line_publisher", __name__)
    app.extensions["line_hub"] = Hub(app)


def line_data(line: Any) -> dict[str, Any]:
    """Return a line as its event's data. Shape: seq, at, level, text, done, total."""
    return {
        "seq": line.seq,
        "at": rfc3339(line.at, "milliseconds"),
        "level": line.level,
        "text": line.text,
        "done": line.done,
        "total": line.total,
    }


def publish_line(line: StatusLine) -> None:
    """Publish a stored line to the listeners of its job."""
    publish(line.job_id, Event("status", line.seq, line_data(line)))


def publish(job_id: str, event: Event) -> bool:
    """Publish an event to the listeners; False when Redis is away (they will read the database)."""
    publisher: LinePublisher = current_app.extensions["line_publisher"]
    try:
        publisher.publish(event.data, type=event.type, id=str(event.seq), channel=job_id)
    except RedisError as error:
        log.warning("a line of %s waits in the database: %s", job_id, type(error).__name__)
        return False
    return True


def show_progress(job_id: str, permille: int) -> None:
    """Show how far a job is where it cannot be written now: SQLite has one writer at a time."""
    try:
        quick_redis().set(f"job-progress:{job_id}", permille, ex=60)
    except RedisError:
        log.debug("the bar of %s waits for the database", job_id)


def live_permille(job: Job) -> int:
    """Return how far a job is, of 1000: as it is written, or shown since."""
    try:
        shown = quick_redis().get(f"job-progress:{job.id}") if job.status in ACTIVE else None
    except RedisError:
        shown = None
    return max(job.permille, int(shown or 0))


class Listening:
    """One listener of a job's lines numbered above `after`: iterate over it, and close it.

    Yields every line once and in order, then the end; None is a heartbeat, the first one at once,
    because headers do not leave before the first byte. Needs no request context, and holds no
    database connection while it waits.

    gone:   says that nobody may or can read any more; asked once a second, however busy the job
    reader: the user whose stream it is, where it is one's
    Raises: Unavailable when this process has as many streams open as it can serve, TooMany when
            the reader has as many as one user may have
    """

    def __init__(
        self,
        job_id: str,
        after: int = 0,
        *,
        gone: Callable[[], bool] = lambda: False,
        reader: str = "",
    ) -> None:
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._hub: Hub = self._app.extensions["line_hub"]
        self._job_id, self._after, self._gone = job_id, after, gone
        self._queue = self._hub.subscribe(job_id, reader)

    def __iter__(self) -> Iterator[Event | None]:
        try:
            yield from self._events()
        finally:
            self.close()

    def close(self) -> None:
        """Unsubscribe; also for a stream whose first byte was never asked for."""
        self._hub.unsubscribe(self._job_id, self._queue)

    def _events(self) -> Iterator[Event | None]:
        heartbeat_s = self._app.config["HEARTBEAT_SECONDS"]
        spoken = asked = time.monotonic()
        yield None
        missed, ended = self._read_missed()
        while True:
            for event in missed:
                self._after = event.seq
                yield event
                spoken = time.monotonic()
            if ended:
                yield ended
                return
            missed = []
            if time.monotonic() - asked >= POLL_S:
                asked = time.monotonic()
                if self._gone():
                    return
            try:
                received = self._queue.get(timeout=min(POLL_S, heartbeat_s))
            except queue.Empty:
                if time.monotonic() - spoken >= heartbeat_s:
                    yield None
                    spoken = time.monotonic()
                if self._hub.has_more(self._job_id, self._after):
                    missed, ended = self._read_missed()
                continue
            if self._hub.closing:
                # Without an end: the reader comes back, to the server's successor.
                return
            if received and received.type == "status" and received.seq <= self._after + 1:
                missed = [received] if received.seq == self._after + 1 else []
                continue
            # A gap, the end, or a fresh subscription: the database has what lies between.
            missed, ended = self._read_missed()

    def _read_missed(self) -> tuple[list[Event], Event | None]:
        """Return the stored lines not heard yet, and the end event when all has been told.

        With the database away there is nothing to tell yet: the stream stays, and polls again.
        """
        try:
            with self._hub.reading, self._app.app_context():
                return stored_events(self._job_id, self._after)
        except SQLAlchemyError as error:
            name = type(error).__name__
            log.warning("a listener of %s waits for the database: %s", self._job_id, name)
            return [], None


def stored_events(job_id: str, after: int = 0) -> tuple[list[Event], Event | None]:
    """Return the stored lines after a number, and the end event of a job that has ended."""
    # The status is read before the lines: an end seen here has all its lines stored.
    status = db.session.scalar(select(Job.status).where(Job.id == job_id))
    if status is None:
        return [], Event("end", after, {"status": "deleted"})
    lines = db.session.execute(
        select(StatusLine.__table__)
        .where(StatusLine.job_id == job_id, StatusLine.seq > after)
        .order_by(StatusLine.seq)
    )
    events = [Event("status", line.seq, line_data(line)) for line in lines]
    last = events[-1].seq if events else after
    return events, None if status in ACTIVE else Event("end", last, {"status": status})


def reader_gone(environ: dict[str, Any]) -> Callable[[], bool]:
    """Return a function that says whether the browser closed this request's connection.

    A server notices only when it writes; a look at the socket frees a quiet stream in a second.
    """
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if not isinstance(connection, socket.socket):
        return lambda: False

    # Not select.select(): it knows no file descriptors above 1023, and a stream each adds up.
    poller = poll()

    def gone() -> bool:
        try:
            poller.register(connection, POLLIN | POLLHUP)
            return bool(poller.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    return gone
