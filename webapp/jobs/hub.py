"""One Redis subscription and one poll of the database for all listeners of a process.

flask-sse opens a connection per listener and notices a closed browser only when the next message
comes. Here they come and go through `Hub.subscribe` and `Hub.unsubscribe`, and Redis sees one
connection. What Redis loses is found by a second thread, which asks the database every few seconds
how far all listened-to jobs are, in one query however many listeners there are.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from webapp.errors import TooMany, Unavailable
from webapp.extensions import db, redis_client
from webapp.jobs.models import ACTIVE, Job

log = logging.getLogger(__name__)

TICK_S = 0.05
POLL_EVERY_S = 3.0
POLL_ALONE_S = 1.0
JOBS_PER_POLL = 500
READERS = 8


@dataclass(frozen=True)
class Event:
    """One server-sent event: `status` with a line's data, or the last one, `end`."""

    type: str
    seq: int
    data: dict[str, Any]

    def __str__(self) -> str:
        """Return the event as it is written to the stream."""
        return self._written

    @cached_property
    def _written(self) -> str:
        body = json.dumps(self.data, ensure_ascii=False)
        # The end has the last line's number, with a 0 in front: a reader that comes back with it
        # has heard the end, one that comes back with the line's own has not.
        number = f"0{self.seq}" if self.type == "end" else str(self.seq)
        return f"event: {self.type}\nid: {number}\ndata: {body}\n\n"


class Hub:
    """One Redis subscription for all listeners of this process.

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
            for name, work in (("line-hub", self._run), ("line-poll", self._poll)):
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
                log.warning("live lines wait for the database: %s", type(error).__name__)

    def _poll_channels(self) -> None:
        with self._lock:
            channels = list(self._listeners)
        for first in range(0, len(channels), JOBS_PER_POLL):
            chunk = channels[first : first + JOBS_PER_POLL]
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

    def _run(self) -> None:
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
                self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
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
