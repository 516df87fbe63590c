"""Status lines as listeners hear them, without a gap.

A line is stored with its number first and then published (jobs/transitions.py). What a listener
missed — because it came late, came back, or Redis was away — it reads in the database, so every
line arrives exactly once and in order.

flask-sse by itself opens a Redis connection per listener, notices a closed browser only at the next
message, sends no heartbeat and ignores Last-Event-ID. Only its publishing is used. Here is one
subscription connection per process (`Hub`) and a queue per listener; what Redis loses is found by a
second thread, which asks the database every few seconds how far all listened-to jobs are, in one
query however many listeners there are.
"""

from __future__ import annotations

import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from select import POLLHUP, POLLIN, poll
from typing import Any

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.databases import reason_of
from webapp.errors import TooMany, Unavailable
from webapp.extensions import db, redis_client, this_app
from webapp.jobs.models import ACTIVE, Job, StatusLine
from webapp.jobs.transitions import Event, line_data
from webapp.lib.batches import batched

log = logging.getLogger(__name__)

POLL_S = 1.0
TICK_S = 0.05
POLL_EVERY_S = 3.0
POLL_ALONE_S = 1.0
READERS = 8


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
        self._app = this_app()
        self._hub: Hub = self._app.extensions["line_hub"]
        self._job_id, self._after, self._gone = job_id, after, gone
        self._queue = self._hub.subscribe(job_id, reader)

    def __iter__(self) -> Iterator[Event | None]:
        try:
            yield from self._lines_and_end()
        finally:
            self.close()

    def close(self) -> None:
        """Unsubscribe; also for a stream whose first byte was never asked for."""
        self._hub.unsubscribe(self._job_id, self._queue)

    def _lines_and_end(self) -> Iterator[Event | None]:
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
            reason = reason_of(error)
            log.warning("a listener of %s waits for the database: %s", self._job_id, reason)
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


class Hub:
    """One Redis subscription and one poll of the database for all listeners of this process.

    The thread owns the pubsub object and is the only one to touch it; listeners come and go through
    `subscribe` and `unsubscribe`. It follows the channels that have listeners, and no others; with
    no listener at all it ends, and with it the connection.
    """

    REREAD = None

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._listeners: dict[str, list[queue.SimpleQueue[Event | None]]] = {}
        self._readers: dict[queue.SimpleQueue[Event | None], str] = {}
        self.threads: dict[str, threading.Thread] = {}
        self._polled: dict[str, tuple[int, bool]] = {}
        self.connected = False
        self.closing = False
        # Thousands of listeners may read at once; pages shall find a connection all the same.
        self.reading = threading.BoundedSemaphore(READERS)

    def __len__(self) -> int:
        with self._lock:
            return sum(len(queues) for queues in self._listeners.values())

    def subscribe(self, channel: str, reader: str = "") -> queue.SimpleQueue[Event | None]:
        """Return a queue that receives the channel's events, and REREAD after each gap.

        reader: the user whose stream it is; of each there are so many and no more
        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        with self._lock:
            if self.closing:
                raise Unavailable("The server is being restarted; try again in a few seconds.")
            limit = max(self._app.config["WEB_THREADS"] - 8, 1)
            if sum(map(len, self._listeners.values())) >= limit:
                raise Unavailable(
                    "Too many live streams are open on this server. The page updates by itself "
                    "without one; a program may try again in a few seconds."
                )
            most = self._app.config["STREAMS_PER_USER_MOST"]
            if reader and list(self._readers.values()).count(reader) >= most:
                raise TooMany(
                    f"You have {most:,} live streams open, which is as many as a user may have. "
                    "The page updates by itself without one; a program may close one first.",
                    retry_after_s=5,
                )
            self._readers[events] = reader
            self._listeners.setdefault(channel, []).append(events)
            for name, work in (("line-hub", self._follow_redis), ("line-poll", self._poll)):
                if name not in self.threads or not self.threads[name].is_alive():
                    self.threads[name] = threading.Thread(target=work, name=name, daemon=True)
                    self.threads[name].start()
        return events

    def close(self) -> None:
        """End every stream of this process at once and take no new one; readers come back."""
        with self._lock:
            self.closing = True
            for queues in self._listeners.values():
                for events in queues:
                    events.put(self.REREAD)

    def has_more(self, channel: str, after: int) -> bool:
        """Say whether the database, when last polled, knew of more than a listener has heard."""
        last_seq, is_active = self._polled.get(channel, (0, True))
        return last_seq > after or not is_active

    def unsubscribe(self, channel: str, events: queue.SimpleQueue[Event | None]) -> None:
        """Forget a listener; its channel is unsubscribed when it was the last one."""
        with self._lock:
            self._readers.pop(events, None)
            queues = self._listeners.get(channel, [])
            if events in queues:
                queues.remove(events)
            if not queues:
                self._listeners.pop(channel, None)
                self._polled.pop(channel, None)

    def _is_needed(self, thread: str) -> bool:
        """Return whether anybody listens; a thread that is told that nobody does ends."""
        with self._lock:
            if not self._listeners:
                self.threads.pop(thread, None)
            return bool(self._listeners)

    def _poll(self) -> None:
        while self._is_needed("line-poll"):
            time.sleep(POLL_EVERY_S if self.connected else POLL_ALONE_S)
            try:
                self._poll_channels()
            except SQLAlchemyError as error:
                log.warning("live lines wait for the database: %s", reason_of(error))

    def _poll_channels(self) -> None:
        with self._lock:
            channels = list(self._listeners)
        for chunk in batched(channels):
            with self._app.app_context():
                query = select(Job.id, Job.last_seq, Job.status)
                found = {
                    job_id: (last_seq, status in ACTIVE)
                    for job_id, last_seq, status in db.session.execute(
                        query.where(Job.id.in_(chunk))
                    )
                }
            # A job that is gone has ended, too: its listeners are told so.
            polled = {channel: found.get(channel, (0, False)) for channel in chunk}
            with self._lock:
                self._polled |= {key: at for key, at in polled.items() if key in self._listeners}

    def _follow_redis(self) -> None:
        while self._is_needed("line-hub"):
            try:
                with closing(redis_client(self._app).pubsub()) as pubsub:
                    self._listen(pubsub)
            except RedisError as error:
                if self.connected:
                    log.warning("live lines by database until Redis is back: %s", error)
                self.connected = False
                time.sleep(0.5)

    def _listen(self, pubsub: Any) -> None:
        """Follow the channels that have listeners until none has."""
        subscribed: set[str] = set()
        while True:
            with self._lock:
                wanted = set(self._listeners)
            if not wanted:
                return
            if new := wanted - subscribed:
                pubsub.subscribe(*new)
            if gone := subscribed - wanted:
                pubsub.unsubscribe(*gone)
            subscribed = wanted
            if message := pubsub.get_message(timeout=TICK_S):
                self._deliver_message(message)

    def _deliver_message(self, message: dict[str, Any]) -> None:
        if message["type"] not in {"message", "subscribe"}:
            return
        channel, event = message["channel"].decode(), self.REREAD
        if message["type"] == "message":
            # Anything unreadable makes listeners read the database.
            with suppress(ValueError, KeyError, TypeError):
                found = json.loads(message["data"])
                event = Event(str(found["type"]), int(found["id"]), dict(found["data"]))
        self.connected = True
        with self._lock:
            for events in self._listeners.get(channel, []):
                events.put(event)
