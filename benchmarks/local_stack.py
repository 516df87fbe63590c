"""A local stack for a benchmark: SQLite file, Redis, real workers, the stand-in partner beside it.

Reports are made as in the product: queued, taken by a worker, run in its work-horse. What a report
costs is read from the system (`/proc`, so Linux only), not from within.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from sandbox.testing import RunningStandIn
from webapp import create_app
from webapp.accounts import create_user, scope_of
from webapp.engine.models import Report, ResultRow
from webapp.engine.service import cancel_report, start_report
from webapp.errors import Conflict
from webapp.extensions import db, redis_client
from webapp.ops.embedded_redis import answers, find_binary
from webapp.ops.supervisor import ending_with_us
from webapp.ops.workers import live_workers

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.05
START_S = 30.0
KEY, SECRET = "demo-user-key", "ZGVtby1zZWNyZXQ="


@dataclass(frozen=True)
class Made:
    """One or more reports that ran together, and what they cost.

    cpu_s:   of the workers and their work-horses
    peak_mb: largest resident memory of one work-horse
    stats:   the stand-in's counters of that time
    partner_cpu_s: of the stand-in
    """

    ids: tuple[str, ...]
    wall_s: float
    cpu_s: float
    peak_mb: float
    stats: dict[str, Any]
    partner_cpu_s: float

    @property
    def searches(self) -> int:
        return int(self.stats["requests"].get("accounts.search", 0))

    @property
    def requests(self) -> int:
        return int(sum(self.stats["requests"].values()))


class Crew:
    """Workers of one stack that run now."""

    def __init__(self, stack: LocalStack, partner: RunningStandIn, pids: list[int]) -> None:
        self.stack, self.partner, self.pids = stack, partner, pids

    def idle(self) -> None:
        """Return when no worker has a work-horse."""
        while any(children(pid) for pid in self.pids):
            time.sleep(LOOK_S)

    def make(self, *reports: dict[str, Any], time_limit_s: float = 900.0) -> Made:
        """Make reports at the same time and return what they cost once all are done.

        Raises: RuntimeError when one ends in any other way, or not in time
        """
        self.partner.control("POST", "reset")
        before, partner_before = sum(map(cpu_s, self.pids)), cpu_s(self.partner.pid)
        with self._watching() as peak:
            ids = tuple(self.stack.start(params) for params in reports)
            wall_s = self.stack.wait(ids, time_limit_s)
        return Made(
            ids,
            wall_s,
            sum(map(cpu_s, self.pids)) - before,
            peak[0] / 1024,
            self.partner.stats(),
            cpu_s(self.partner.pid) - partner_before,
        )

    @contextmanager
    def _watching(self) -> Iterator[list[float]]:
        """Look at the work-horses' peak memory until the block ends and they have ended."""
        peak, over = [0.0], threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                horses = [horse for pid in self.pids for horse in children(pid)]
                peak[0] = max([peak[0], *map(peak_kb, horses)])

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield peak
            # Their time counts once they have been waited for.
            self.idle()
        finally:
            over.set()
            thread.join()


class LocalStack:
    """The application of one benchmark and its database."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.settings = settings
        self._log = Path(settings["DATA_DIR"]) / "workers.log"
        self.app = create_app({**settings, "RATELIMIT_STORAGE_URI": "memory://"})
        with self.app.app_context():
            import flask_migrate  # not held by the processes that are measured

            flask_migrate.upgrade()
            user = create_user("bench@example.com", "Bench", "admin", "a long enough password")
            scope = scope_of(user, user.home_company_id)
        assert scope is not None
        self.scope = scope

    @contextmanager
    def workers(
        self,
        partner: RunningStandIn,
        number: int = 1,
        *,
        in_flight: int = 8,
        per_second: float = 0,
        **more: str,
    ) -> Iterator[Crew]:
        """Run workers against a stand-in; no limit of searches unless said."""
        settings = {
            **self.settings,
            "PARTNER_API_URL": partner.url_template,
            "PARTNER_CONCURRENCY": str(in_flight),
            "PARTNER_SEARCHES_PER_SECOND": f"{per_second:g}",
            "PARTNER_CALLS_PER_SECOND": "100" if per_second else "0",
            **more,
        }
        with ExitStack() as running:
            log = running.enter_context(self._log.open("w"))
            pids = [running.enter_context(_worker(settings, log)) for _ in range(number)]
            self._wait_for_workers(number)
            yield Crew(self, partner, pids)

    def _wait_for_workers(self, number: int) -> None:
        ends = time.monotonic() + START_S
        while len(live_workers(redis_client(self.app), self.settings["QUEUE"])) < number:
            if time.monotonic() > ends:
                raise RuntimeError(f"The workers did not start: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_S)

    def start(self, params: dict[str, Any]) -> str:
        """Queue a partner-use report and return its id."""
        raw = {"user_key": KEY, "user_secret": SECRET, **params}
        with self.app.app_context():
            return start_report(self.scope, "partner-use", raw).report.id

    def wait(self, ids: tuple[str, ...], time_limit_s: float) -> float:
        """Wait until reports are done; return the seconds from first start to last end."""
        ends = time.monotonic() + time_limit_s
        while time.monotonic() < ends:
            time.sleep(LOOK_S)
            with self.app.app_context():
                reports = [db.session.get_one(Report, one) for one in ids]
                if not any(report.is_active for report in reports):
                    return _wall_s(reports)
        raise RuntimeError(f"The report was not done within {time_limit_s:g} s.")

    def forget_shared(self) -> None:
        """Forget what reports leave to each other in Redis for minutes, as if those were over."""
        client = redis_client(self.app)
        for key in [*client.scan_iter("flight:*"), *client.scan_iter("pace:*")]:
            client.delete(key)

    def cancel(self, report_id: str) -> None:
        """Stop a report, unless it has ended."""
        with self.app.app_context(), suppress(Conflict):
            cancel_report(self.scope, report_id)

    def rows(self, report_id: str, table: str) -> list[dict[str, Any]]:
        """Return the stored rows of one table of a report, in their order."""
        with self.app.app_context():
            query = db.select(ResultRow.data).where(
                ResultRow.report_id == report_id, ResultRow.table_name == table
            )
            return list(db.session.scalars(query.order_by(ResultRow.position)))


@contextmanager
def database() -> Iterator[str]:
    """Yield the URL of an empty database of this run's own, on Postgres where one is named."""
    given = os.environ.get("BENCH_DATABASE_URL") or os.environ.get("TEST_DATABASE_URL")
    if not given:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/bench.sqlite3"
        return
    url = sa.make_url(given.replace("postgres://", "postgresql://", 1))
    name = f"bench_{secrets.token_hex(4)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def settings_of(database_url: str, folder: str) -> dict[str, str]:
    """Return the settings of an application without workers; without TEST_REDIS_URL jobs wait."""
    return {
        "DATA_DIR": folder,
        "DATABASE_URL": database_url,
        "SECRET_KEY": "a key that only benchmarks use, 012345",
        "REDIS_URL": os.environ.get("TEST_REDIS_URL") or "redis://127.0.0.1:1/0",
        "QUEUE": f"bench-{secrets.token_hex(4)}",
        "RATELIMIT_STORAGE_URI": "memory://",
    }


@contextmanager
def local_stack() -> Iterator[LocalStack]:
    """Build a stack for the block: everything in a folder of its own, gone afterwards."""
    # A socket's path may have 107 bytes, so the folder is not put below another one.
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with _redis(folder) as redis_url:
            built = LocalStack(
                {
                    "DATA_DIR": str(folder),
                    "DATABASE_URL": f"sqlite:///{folder}/bench.sqlite3",
                    "REDIS_URL": redis_url,
                    "SECRET_KEY": secrets.token_urlsafe(32),
                    "QUEUE": f"bench-{secrets.token_hex(4)}",
                }
            )
            yield built
            with built.app.app_context():
                db.session.remove()
                db.engine.dispose()
            redis_client(built.app).close()
    finally:
        shutil.rmtree(folder)


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    socket = folder / "redis.sock"
    argv = [str(find_binary()), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    server = subprocess.Popen(
        [*argv, "--save", ""], stdout=subprocess.DEVNULL, preexec_fn=ending_with_us(signal.SIGTERM)
    )
    url = f"unix://{socket}?db=0"
    ends = time.monotonic() + START_S
    try:
        while not answers(url):
            if time.monotonic() > ends:
                raise RuntimeError("Redis did not start.")
            time.sleep(LOOK_S)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@contextmanager
def _worker(settings: dict[str, str], log: IO[str]) -> Iterator[int]:
    """Run a worker of the product and yield its process number; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "worker.py"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=ending_with_us(signal.SIGTERM),
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wall_s(reports: list[Report]) -> float:
    for report in reports:
        if report.status != "done":
            raise RuntimeError(f"A report ended {report.status}: {report.error}")
    began = min(report.started_at for report in reports if report.started_at)
    ended = max(report.finished_at for report in reports if report.finished_at)
    return (ended - began).total_seconds()


# What the system knows of a process


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and not waited for yet."""
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU a process and those it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def peak_kb(pid: int) -> float:
    """Return the largest resident memory a process ever had; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1])
    return 0.0
