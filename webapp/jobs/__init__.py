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

from webapp.jobs.attempt import Attempt as Attempt
from webapp.jobs.executor import run_queued as run_queued
from webapp.jobs.models import ACTIVE as ACTIVE
from webapp.jobs.models import CANCELLED as CANCELLED
from webapp.jobs.models import DONE as DONE
from webapp.jobs.models import FAILED as FAILED
from webapp.jobs.models import QUEUED as QUEUED
from webapp.jobs.models import RUNNING as RUNNING
from webapp.jobs.models import Checkpoint as Checkpoint
from webapp.jobs.models import Ending as Ending
from webapp.jobs.models import Job as Job
from webapp.jobs.models import StatusLine as StatusLine
from webapp.jobs.models import Task as Task
from webapp.jobs.service import add as add
from webapp.jobs.service import cancel as cancel
from webapp.jobs.service import delete as delete
from webapp.jobs.service import find as find
from webapp.jobs.service import start as start
from webapp.jobs.service import start_again as start_again
from webapp.jobs.stream import Hub
from webapp.jobs.stream import Listening as Listening
from webapp.jobs.stream import reader_gone as reader_gone
from webapp.jobs.stream import stored_events as stored_events
from webapp.jobs.transitions import Event as Event
from webapp.jobs.transitions import LinePublisher
from webapp.jobs.transitions import live_permille as live_permille
from webapp.jobs.transport import follow_commits
from webapp.jobs.transport import place_of as place_of
from webapp.jobs.transport import waiting_of as waiting_of


def init_app(app: Flask, tasks: Iterable[Task]) -> None:
    """Hand the application its tasks, its publisher and its hub; names are unique."""
    app.extensions["tasks"] = {}
    for task in tasks:
        add_task(app, task)
    # Made fresh, they hold this app's Redis.
    app.extensions["line_publisher"] = LinePublisher("line_publisher", __name__)
    app.extensions["line_hub"] = Hub(app)
    follow_commits()


def add_task(app: Flask, task: Task) -> None:
    """Hand the application one task more; raises ValueError for a name that is taken."""
    if task.name in app.extensions["tasks"]:
        raise ValueError(f"two tasks are called {task.name}")
    app.extensions["tasks"][task.name] = task
