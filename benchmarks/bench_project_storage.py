"""Project storage: reads that touch counters only, events taken in, and computing on demand.

Runs on BENCH_DATABASE_URL or TEST_DATABASE_URL (Postgres; a database of its own is made there and
dropped) or else on a SQLite file. Modest by default; BENCH_FULL=1 takes 10,000 projects and
20 million file versions, which needs about 10 GB and a quarter of an hour.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from benchmarks.local_stack import database, settings_of
from webapp import create_app
from webapp.accounts import User, create_key, create_user, scope_of
from webapp.extensions import db, redis_client
from webapp.kinds.project_storage import counting, stats

Row = dict[str, Any]
FULL = os.environ.get("BENCH_FULL") == "1"
PROJECTS = 10_000 if FULL else 500
VERSIONS = int(os.environ.get("BENCH_VERSIONS") or (20_000_000 if FULL else 200_000))
FEW = 20_000 if FULL else 2_000
INTAKE = 60_000 if FULL else 20_000
LIST = 1_000
EVENT_COLUMNS = (
    "project_key, seq, event_id, type, version_id, bytes, provider_key, at_us, received_at"
)

NEXT_KEY = (
    "SELECT setval(pg_get_serial_sequence('project_storage_project', 'key'), "
    "(SELECT max(key) FROM project_storage_project))"
)
WITHOUT_INDEXES = (
    "ALTER TABLE project_storage_event DROP CONSTRAINT uq_project_storage_event_project_key",
    "DROP INDEX ix_project_storage_event_version",
)
WITH_INDEXES = (
    "ALTER TABLE project_storage_event ADD CONSTRAINT uq_project_storage_event_project_key "
    "UNIQUE (project_key, event_id)",
    "CREATE INDEX ix_project_storage_event_version ON project_storage_event "
    "(project_key, version_id)",
)
# What computing on demand costs: the last event of each version decides.
ON_DEMAND = """
SELECT count(*), sum(bytes) FROM (
  SELECT version_id, type, max(bytes) OVER (PARTITION BY project_key, version_id) AS bytes,
         row_number() OVER (PARTITION BY project_key, version_id
                            ORDER BY at_us DESC, event_id DESC) AS place
  FROM project_storage_event WHERE project_key BETWEEN :first AND :last
) newest WHERE place = 1 AND type IN ('upload', 'restore')
"""


def make_app(database_url: str, folder: str) -> Flask:
    """Return an application on the database; without TEST_REDIS_URL its jobs go nowhere."""
    logging.getLogger("webapp").setLevel(logging.CRITICAL)
    return create_app(settings_of(database_url, folder))


class Bench:
    """One caller with a key, over the application's own HTTP addresses."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        with app.app_context():
            flask_migrate.upgrade()
            user = create_user("bench@example.com", "Bench", "admin", "a long enough password")
            self.company_id, self.user_id = user.home_company_id, user.id
            key, secret = create_key(user, "bench")
            self.auth = (key.key_id, secret)
        self.client = app.test_client()
        made = self.post("/storage_providers", {"name": "swift", "description": ""})
        self.provider = made["id"]

    def post(self, path: str, body: Any) -> Any:
        answer = self.client.post(f"/api/v1{path}", json=body, auth=self.auth)
        assert answer.status_code < 300, answer.text
        return answer.json

    def get(self, path: str) -> Any:
        answer = self.client.get(f"/api/v1{path}", auth=self.auth)
        assert answer.status_code == 200, answer.text
        return answer.json

    def fill(self, versions: int) -> None:
        """Store projects and so many versions of one upload each, counted."""
        per_project = max(versions // PROJECTS, 1)
        with self.app.app_context():
            for table in ("event", "counter", "permission", "project"):
                db.session.execute(sa.text(f"DELETE FROM project_storage_{table}"))
            db.session.execute(sa.text(self._projects(per_project)), self._names())
            db.session.execute(
                sa.text(
                    "INSERT INTO project_storage_permission "
                    "(company_id, user_id, project_key, auth_role) "
                    "SELECT company_id, :user, key, 'project_admin' FROM project_storage_project"
                ),
                self._names(),
            )
            self._fill_events(per_project)
            db.session.execute(
                sa.text(
                    "INSERT INTO project_storage_counter (project_key, provider_key, "
                    "active_file_versions, active_bytes, trash_file_versions, trash_bytes) "
                    "SELECT key, 1, :n, :n * 1000, 0, 0 FROM project_storage_project"
                ),
                {"n": per_project},
            )
            if db.engine.dialect.name == "postgresql":
                db.session.execute(sa.text(NEXT_KEY))
            db.session.commit()
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
                is_postgres = plain.dialect.name == "postgresql"
                plain.execute(sa.text("VACUUM ANALYZE" if is_postgres else "ANALYZE"))

    def _fill_events(self, per_project: int) -> None:
        """Store the events; on Postgres indexes are made afterwards, which is faster."""
        lean = db.engine.dialect.name == "postgresql"
        if lean and db.session.scalar(sa.text("SELECT current_setting('is_superuser')")) == "on":
            # The keys are right by construction.
            db.session.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in WITHOUT_INDEXES if lean else ():
            db.session.execute(sa.text(statement))
        db.session.execute(sa.text(self._events(per_project)))
        for statement in WITH_INDEXES if lean else ():
            db.session.execute(sa.text(statement))

    def _names(self) -> dict[str, str]:
        if self.app.config["DATABASE_URL"].startswith("sqlite"):
            return {
                "company": self.company_id.replace("-", ""),
                "user": self.user_id.replace("-", ""),
            }
        return {"company": self.company_id, "user": self.user_id}

    def _series(self, name: str, count: int) -> str:
        if self.app.config["DATABASE_URL"].startswith("sqlite"):
            return (
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s "
                f"WHERE n < {count}) SELECT n FROM s) AS {name}"
            )
        return f"generate_series(1, {count}) AS {name}(n)"

    def _projects(self, per_project: int) -> str:
        sqlite = self.app.config["DATABASE_URL"].startswith("sqlite")
        made = "lower(hex(randomblob(16)))" if sqlite else "gen_random_uuid()"
        company = ":company" if sqlite else "CAST(:company AS uuid)"
        return (
            "INSERT INTO project_storage_project "
            "(key, company_id, id, name, created_at, last_seq, counted_seq) "
            f"SELECT p.n, {company}, {made}, 'Project ' || p.n, CURRENT_TIMESTAMP, "
            f"{per_project}, {per_project} FROM {self._series('p', PROJECTS)}"
        )

    def _events(self, per_project: int) -> str:
        return (
            f"INSERT INTO project_storage_event ({EVENT_COLUMNS}) "
            "SELECT p.n, v.n, 'e' || v.n, 'upload', 'v' || v.n, 1000, 1, "
            "1700000000000000 + v.n, CURRENT_TIMESTAMP "
            f"FROM {self._series('p', PROJECTS)} CROSS JOIN {self._series('v', per_project)}"
        )


def milliseconds(work: Callable[[], Any]) -> float:
    """Return how long a piece of work takes, in milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def typical_ms(work: Callable[[], Any], times: int = 15) -> float:
    """Return the median time of a piece of work, in milliseconds, after one try."""
    work()
    return statistics.median(milliseconds(work) for _ in range(times))


def read_times(*benches: Bench, times: int = 30) -> list[dict[str, float]]:
    """Return how long each read takes over HTTP at each bench, in milliseconds.

    They take turns and the fastest of each counts, so that other work on the machine tells little.
    """
    projects = [
        bench.get("/projects/stats?per_page=1")["results"][0]["project"]["id"] for bench in benches
    ]
    found: list[dict[str, float]] = [{} for _ in benches]
    for path in ("/projects/stats", "/projects/<id>/stats", "/current_user/stats"):
        for _ in range(times):
            for bench, project, times_of in zip(benches, projects, found, strict=True):
                taken = milliseconds(lambda: bench.get(path.replace("<id>", project)))  # noqa: B023
                times_of[path] = min(taken, times_of.get(path, taken))
    return found


def queries_of(bench: Bench, path: str) -> int:
    """Return how many queries a read makes in this kind's tables."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if "project_storage_" in statement:
            assert "project_storage_event" not in statement
            seen.append(statement)

    with bench.app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    bench.get(path)
    sa.event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def on_demand_ms(bench: Bench, projects: int) -> float:
    """Return how long the sums of so many projects take from their events, in milliseconds."""

    def work() -> None:
        with bench.app.app_context():
            db.session.execute(sa.text(ON_DEMAND), {"first": 1, "last": projects}).one()

    return typical_ms(work, times=3)


def demand_rows(bench: Bench) -> list[Row]:
    """Return counters against events, both without HTTP."""
    with bench.app.app_context():
        scope = scope_of(db.session.get(User, bench.user_id), bench.company_id)  # type: ignore[arg-type]
        assert scope is not None
        project_id = stats.list_items(scope, 0, 1)[0].project.id
        works: list[tuple[str, int, Callable[[], Any]]] = [
            ("one project", 1, lambda: stats.read_item(scope, project_id)),
            ("100 projects", 100, lambda: stats.list_items(scope, 0, 100)),
            ("all of a user", PROJECTS, lambda: stats.user_stats(scope)),
        ]
        kept = [(what, projects, typical_ms(work)) for what, projects, work in works]
    return [_demand_row(what, ms, on_demand_ms(bench, projects)) for what, projects, ms in kept]


def count_beside(database_url: str, wanted: int, ready: Any, done: Any) -> None:
    """Count in a process of its own, as a worker does, until so many events are counted."""
    with tempfile.TemporaryDirectory() as folder:
        app = make_app(database_url, folder)
        with app.app_context():
            ready.set()
            counted = 0
            while counted < wanted:
                counted += sum(map(counting.count_project, counting.waiting_projects()))
                time.sleep(0.01)
        done.set()


def intake(bench: Bench, database_url: str) -> float:
    """Return events a second, from the first list sent to the last event counted."""
    projects = [bench.post("/projects", {"name": f"Intake {n}"})["id"] for n in range(20)]
    lists = [
        [
            {
                "id": str(uuid4()),
                "type": "upload" if number % 4 else "trash",
                "file_version_id": f"{batch}-{number - (0 if number % 4 else 1)}",
                "at": f"2025-01-01T00:00:{number % 60:02d}Z",
                "bytes": 1000,
                "storage_provider_id": bench.provider,
            }
            for number in range(LIST)
        ]
        for batch in range(INTAKE // LIST)
    ]
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    counter = context.Process(target=count_beside, args=(database_url, INTAKE, ready, done))
    counter.start()
    ready.wait(60)
    began = time.perf_counter()
    for number, events in enumerate(lists):
        answer = bench.post(f"/projects/{projects[number % len(projects)]}/file_events", events)
        assert all(one["verdict"] == "accepted" for one in answer["results"])
    done.wait(600)
    taken = time.perf_counter() - began
    counter.join(10)
    return INTAKE / taken


def run() -> list[Row]:
    """Return the claims with what was measured. Shape: claim, measured, against, ratio, wanted."""
    with database() as few_url, database() as url, tempfile.TemporaryDirectory() as folder:
        small, bench = (Bench(make_app(one, folder)) for one in (few_url, url))
        small.fill(FEW)
        bench.fill(VERSIONS)
        few, many = read_times(small, bench)
        rows = [_growth_row(path, many[path], few[path]) for path in many]
        rows += [_query_row(bench, path) for path in ("/projects/stats", "/current_user/stats")]
        rows += demand_rows(bench)
        rows.append(_intake_row(intake(bench, url)))
        for one in (small, bench):
            with one.app.app_context():
                db.session.remove()
                db.engine.dispose()
            redis_client(one.app).close()
        return rows


def _intake_row(rate: float) -> Row:
    return {
        "claim": f"events taken in and counted, lists of {LIST:,}",
        "measured": f"{rate:,.0f}/s",
        "against": "3,000/s",
        "ratio": rate / 3000,
        "wanted": "≥ 1",
    }


def _growth_row(path: str, many_ms: float, few_ms: float) -> Row:
    return {
        "claim": f"GET {path}: {VERSIONS:,} versions against {FEW:,}",
        "measured": f"{many_ms:.1f} ms",
        "against": f"{few_ms:.1f} ms",
        "ratio": many_ms / few_ms,
        "wanted": "≤ 1.5",
    }


def _query_row(bench: Bench, path: str) -> Row:
    queries = queries_of(bench, path)
    return {
        "claim": f"GET {path}: queries, none of events",
        "measured": str(queries),
        "against": "3",
        "ratio": queries / 3,
        "wanted": "≤ 1",
    }


def _demand_row(what: str, kept_ms: float, demand_ms: float) -> Row:
    return {
        "claim": f"counters instead of computing on demand: {what}",
        "measured": f"{kept_ms:.1f} ms",
        "against": f"{demand_ms:.1f} ms",
        "ratio": demand_ms / kept_ms,
        "wanted": "larger is better",
    }


if __name__ == "__main__":
    print(f"{PROJECTS:,} projects, {VERSIONS:,} file versions")
    for row in run():
        line = f"{row['claim']:<72} {row['measured']:>12} {row['against']:>12}"
        print(f"{line} {row['ratio']:>9.2f}  {row['wanted']}")
    sys.exit(0)
