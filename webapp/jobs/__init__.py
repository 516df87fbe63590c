"""Work that must not be lost: reports, files to load, counting, deliveries. Knows none of them.

A **job** is a row. A worker takes it under a lease and a new attempt number, does what its **task**
says, and ends it; the janitor gives jobs whose worker was lost to another one. RQ only brings them.

```python
from webapp import jobs

LOAD = jobs.Task("label-revenue-load", run=load, noun="load")   # handed over by ReportKind.tasks()

job = jobs.start(LOAD.name, company_id=…, user_id=…, payload={"upload": upload.id})
db.session.commit()                 # the row, with yours; the commit hands the job to the workers

def load(attempt: jobs.Attempt, payload: dict[str, Any]) -> None:   # in a worker, an app context
    attempt.set_total(3)
    attempt.advance("One of three.")            # a status line with its number, stored, published
    with attempt.fenced() as connection: …      # writes that a lost attempt is refused (RunEnded)
    attempt.save_checkpoints({"a": 1})          # attempt.load_checkpoints() has them next time
    attempt.finish(write=lambda connection: …)  # the end, in one transaction with what was found
```

`run` may be called again for the same job (another attempt), so it goes on from what is stored.
What it raises is the job's error: a ReportError's sentence as it is, of anything else the type. A
job is `queued`, `running`, then `done`, `failed`, `cancelled`, or what `finish(status)` says.
`key`: of the jobs of one task and key at most one waits, and a second `start` returns that one;
one that already runs does not count, as it may have passed what the second start is about.
`Task.on_end` is told in the transaction that ends a job, also by the janitor or a cancel.

Jobs of a task that is `in_turn` wait for their company's turn; all others go to RQ at once.

`find`, `cancel`, `start_again`, `delete` by id; `Listening` yields the events of a job's stream,
`stored_events` what it said so far; `run_queued` does a job in this process (commands, tests).
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask

from webapp.jobs import stream, turns
from webapp.jobs.attempt import Attempt
from webapp.jobs.executor import run_queued
from webapp.jobs.hub import Event
from webapp.jobs.models import (
    ACTIVE,
    CANCELLED,
    DONE,
    FAILED,
    QUEUED,
    RUNNING,
    Checkpoint,
    Job,
    StatusLine,
)
from webapp.jobs.service import add, cancel, delete, find, start, start_again
from webapp.jobs.stream import Listening, live_permille, reader_gone, stored_events
from webapp.jobs.tasks import Ending, Task
from webapp.jobs.turns import place_of, waiting_of

__all__ = [
    "ACTIVE",
    "CANCELLED",
    "DONE",
    "FAILED",
    "QUEUED",
    "RUNNING",
    "Attempt",
    "Checkpoint",
    "Ending",
    "Event",
    "Job",
    "Listening",
    "StatusLine",
    "Task",
    "add",
    "add_task",
    "cancel",
    "delete",
    "find",
    "init_app",
    "live_permille",
    "place_of",
    "reader_gone",
    "run_queued",
    "start",
    "start_again",
    "stored_events",
    "waiting_of",
]


def init_app(app: Flask, tasks: Iterable[Task]) -> None:
    """Hand the application its tasks, its publisher and its hub; names are unique."""
    app.extensions["tasks"] = {}
    for task in tasks:
        add_task(app, task)
    stream.init_app(app)
    turns.follow_commits()


def add_task(app: Flask, task: Task) -> None:
    """Hand the application one task more; raises ValueError for a name that is taken."""
    if task.name in app.extensions["tasks"]:
        raise ValueError(f"two tasks are called {task.name}")
    app.extensions["tasks"][task.name] = task
