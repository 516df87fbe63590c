"""How a job changes hands and ends, and the lines that say so.

Every change is one conditional UPDATE of the row, so of two that want it only one makes it. The
row first, RQ and the listeners after: a line is stored with its number and then published through
flask-sse on the channel of its job. The database is the truth; `jobs/stream.py` listens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import current_app
from flask_sse import ServerSentEventsBlueprint
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.exc import IntegrityError

from webapp.counters import counters
from webapp.databases import reason_of
from webapp.errors import RunEnded
from webapp.extensions import db, quick_redis
from webapp.jobs import transport
from webapp.jobs.models import (
    ACTIVE,
    CANCELLED,
    DONE,
    FAILED,
    QUEUED,
    Ending,
    Job,
    StatusLine,
    task_named,
)
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.texts import made_storable

log = logging.getLogger(__name__)

LONGEST_LINE = 2000


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


class LinePublisher(ServerSentEventsBlueprint):
    """flask-sse's publisher over one pooled client instead of a new one each time.

    The line is stored already, so a Redis that hangs must not keep a job from going on.
    """

    @property
    def redis(self) -> Redis:
        return quick_redis()


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
        log.warning("a line of %s waits in the database: %s", job_id, reason_of(error))
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


def change(connection: Connection, only: Any, values: Mapping[str, Any]) -> Any:
    """Change the job that matches; return its row: id, task, last_seq, done, total.

    Raises: RunEnded when no job matches any more
    """
    changed = connection.execute(
        update(Job)
        .where(only)
        .values(values)
        .returning(Job.id, Job.task, Job.last_seq, Job.done, Job.total, Job.started_at)
    ).first()
    if changed is None:
        raise RunEnded("The job was cancelled, has ended or was given to another worker.")
    return changed


def add_line(
    connection: Connection, only: Any, text: str, level: str, **values: Any
) -> tuple[StatusLine, Any]:
    """Change the job that matches and give it a line; return the line and what `change` does."""
    job = change(connection, only, {"last_seq": Job.last_seq + 1, **values})
    line = {
        "job_id": job.id,
        "seq": job.last_seq,
        "at": utcnow(),
        "level": level,
        "text": made_storable(text)[:LONGEST_LINE],
        "done": job.done,
        "total": job.total,
    }
    connection.execute(insert(StatusLine), line)
    return StatusLine(**line), job


def end_within(
    connection: Connection,
    only: Any,
    ending: Ending,
    *,
    line: str | None = None,
    level: str = "info",
) -> Callable[[], None]:
    """End the job that matches, in a transaction of the caller's: its secret goes in any case.

    Returns: what tells listeners and operators, to be called once it is committed
    Raises: RunEnded when no job matches any more
    """
    # First of all, so that the row is held while the task has its say.
    told = None
    if line:
        told, job = add_line(connection, only, line, level)
    else:
        job = change(connection, only, {"lease_until": None})
    task, ended_at = task_named(job.task), utcnow()
    ending = task.on_end(connection, job.id, ending)
    ended = {"status": ending.status, "error": ending.error, "finished_at": ended_at}
    change(connection, only, ended | {"sealed": None, "lease_until": None})
    if ending.status == DONE and task.kept_s == 0:
        connection.execute(delete(Job).where(Job.id == job.id))

    def tell() -> None:
        if job.started_at:
            ran_s = (ended_at - job.started_at).total_seconds()
            counters().observe("job_duration_seconds", job.task, seconds=ran_s)
        counters().add("jobs_ended", job.task, ending.status)
        if told is not None:
            publish_line(told)
        publish(job.id, Event("end", job.last_seq, {"status": ending.status}))

    return tell


def end(only: Any, status: str, *, line: str | None = None, error: str | None = None) -> None:
    """End the job that matches, with a last line (the error, if no other), and publish it.

    Raises: RunEnded when no job matches any more
    """
    level = "error" if status == FAILED else "warn"
    with db.engine.begin() as connection:
        tell = end_within(connection, only, Ending(status, error), line=line or error, level=level)
    tell()


def queue_again(only: Any, text: str, *, enqueue: bool = True, **values: Any) -> None:
    """Put a running job back into the queue with a line that says why; it has had its turn.

    Where another one of its key waits already, that one does the work, and this one ends.
    Raises: RunEnded when no job matches any more
    """
    now = utcnow()
    queued = {"status": QUEUED, "lease_until": None, "queued_at": now, "handed_at": now, **values}
    try:
        with db.engine.begin() as connection:
            line, job = add_line(connection, only, text, "warn", **queued)
    except IntegrityError:
        end(only, CANCELLED, line="Another job that waits does the same.")
        return
    publish_line(line)
    if enqueue:
        transport.enqueue(job.id, job.task)
