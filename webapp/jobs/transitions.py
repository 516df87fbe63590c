"""How a job changes hands and ends, and the lines that say so.

Every change is one conditional UPDATE of the row, so of two that want it only one makes it. The
row first, RQ and the listeners after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.exc import IntegrityError

from webapp.counters import counters
from webapp.errors import RunEnded
from webapp.extensions import db
from webapp.jobs import stream, transport
from webapp.jobs.hub import Event
from webapp.jobs.models import CANCELLED, DONE, FAILED, QUEUED, Job, StatusLine
from webapp.jobs.tasks import Ending, task_named
from webapp.lib.moments import utcnow

LONGEST_LINE = 2000


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
    # What no database takes, NUL and lone surrogates, is left out.
    stored = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:LONGEST_LINE]
    line = {
        "job_id": job.id,
        "seq": job.last_seq,
        "at": utcnow(),
        "level": level,
        "text": stored,
        "done": job.done,
        "total": job.total,
    }
    connection.execute(insert(StatusLine), line)
    return StatusLine(**line), job


@dataclass(frozen=True)
class Ended:
    """An end that was written: what listeners and operators are told once it is committed."""

    job_id: str
    status: str
    seq: int
    line: StatusLine | None
    task: str
    ran_s: float | None

    def publish(self) -> None:
        if self.ran_s is not None:
            counters().observe("job_duration_seconds", self.task, seconds=self.ran_s)
        counters().add("jobs_ended", self.task, self.status)
        if self.line is not None:
            stream.publish_line(self.line)
        stream.publish(self.job_id, Event("end", self.seq, {"status": self.status}))


def end_within(
    connection: Connection,
    only: Any,
    ending: Ending,
    *,
    line: str | None = None,
    level: str = "info",
    **values: Any,
) -> Ended:
    """End the job that matches, in a transaction of the caller's: its secret goes in any case.

    Raises: RunEnded when no job matches any more
    """
    # First of all, so that the row is held while the task has its say.
    told = None
    if line:
        told, job = add_line(connection, only, line, level, **values)
    else:
        job = change(connection, only, values or {"lease_until": None})
    task = task_named(job.task)
    ending = task.on_end(connection, job.id, ending)
    change(
        connection,
        only,
        {
            "status": ending.status,
            "error": ending.error,
            "sealed": None,
            "lease_until": None,
            "finished_at": utcnow(),
        },
    )
    if ending.status == DONE and task.kept_s == 0:
        connection.execute(delete(Job).where(Job.id == job.id))
    ran_s = (utcnow() - job.started_at).total_seconds() if job.started_at else None
    return Ended(job.id, ending.status, job.last_seq, told, job.task, ran_s)


def end(only: Any, status: str, *, line: str | None = None, error: str | None = None) -> None:
    """End the job that matches, with a last line (the error, if no other), and publish it.

    Raises: RunEnded when no job matches any more
    """
    level = "error" if status == FAILED else "warn"
    with db.engine.begin() as connection:
        ended = end_within(connection, only, Ending(status, error), line=line or error, level=level)
    ended.publish()


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
    stream.publish_line(line)
    if enqueue:
        transport.enqueue(job.id, job.task)
