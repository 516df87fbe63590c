"""Session activity: pings taken in durably, a pace held over HTTP, one login among many segments.

Runs on BENCH_DATABASE_URL or TEST_DATABASE_URL (Postgres; a database of its own is made there and
dropped) or else on a SQLite file. Modest by default; BENCH_FULL=1 holds 333 pings/s for ten
minutes and fills 10 million segments, which needs about 4 GB and half an hour.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from benchmarks.local_stack import children, cpu_s, database, settings_of
from webapp import create_app
from webapp.accounts import Scope, User, create_key, create_user, scope_of
from webapp.extensions import db
from webapp.kinds.session_activity.aggregate import Ping
from webapp.kinds.session_activity.compute import Hours, in_hours
from webapp.kinds.session_activity.facts import login_days, segment_query
from webapp.kinds.session_activity.ingest import Intake
from webapp.kinds.session_activity.models import Computer, Login, Session
from webapp.kinds.session_activity.names import add_names, find_login
from webapp.kinds.session_activity.segments import ends_day

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
FULL = os.environ.get("BENCH_FULL") == "1"
SEGMENTS = int(os.environ.get("BENCH_SEGMENTS") or (10_000_000 if FULL else 200_000))
LOGINS = 20_000 if FULL else 400
SENDERS = 64
# As many pings may be on their way: computers do not wait for each other.
HTTP_SENDERS = 64
TURNS = 5
TAKE_S = 5.0 if FULL else 1.0
PACE = 333
HOLD_S = 600.0 if FULL else 8.0
UTC_ZONE = ZoneInfo("UTC")
MONTH = (date(2025, 3, 1), date(2025, 3, 31))


def make_app(settings: dict[str, str]) -> Flask:
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade()
    # The migrations' logging would write between the rows of the table.
    logging.disable(logging.INFO)
    return app


class Bench:
    """A company with logins, a session each that begins now, and a key that may only send."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        with app.app_context():
            user: User = create_user("bench@example.com", "Bench", "expert", "correct horse bat")
            key, secret = create_key(user, "bench", scope="send")
            self.credentials = b64encode(f"{key.key_id}:{secret}".encode()).decode()
            found = scope_of(user, user.home_company_id)
            assert found is not None
            self.scope: Scope = found
            self.names = [f"login{number:05d}" for number in range(LOGINS)]
            add_names(Login, self.scope.company_id, self.names)
            add_names(Computer, self.scope.company_id, [f"pc{n:05d}" for n in range(LOGINS)])
            self.start = datetime.now(UTC).replace(microsecond=0)
            self._begin_sessions()
            self.engine = db.engine

    def _begin_sessions(self) -> None:
        company_id = self.scope.company_id
        ids: dict[Any, list[int]] = {}
        for table in (Login, Computer):
            query = sa.select(table.id).where(table.company_id == company_id)
            ids[table] = list(db.session.scalars(query.order_by(table.name)))
        end = self.start + timedelta(minutes=1)
        rows = [
            {
                "company_id": company_id,
                "id": name,
                "login_id": login_id,
                "computer_id": computer_id,
                "ip_addr": "",
                "next_ping_sec": 60,
                "started_at": self.start,
                "last_at": self.start,
                "ends_at": end,
                "ends_day": ends_day(end),
            }
            for name, login_id, computer_id in zip(
                self.names, ids[Login], ids[Computer], strict=True
            )
        ]
        db.session.execute(sa.insert(Session), rows)
        db.session.commit()

    def ping(self, name: str, step: int) -> Ping:
        at = self.start + timedelta(seconds=step)
        return Ping(self.scope.company_id, name, "", name, at, 60, at)

    # One login among many

    def fill(self, segments: int) -> None:
        """Store that many segments over the year 2025, spread evenly over all logins."""
        series = (
            "generate_series(1, :many) AS series(value)"
            if self.engine.dialect.name == "postgresql"
            else "(WITH RECURSIVE series(value) AS (SELECT 1 UNION ALL "
            "SELECT value + 1 FROM series WHERE value < :many) SELECT value FROM series) AS series"
        )
        moment = (
            "timestamptz '2025-01-01' + (value * 365.0 / :many + {0}) * interval '1 day'"
            if self.engine.dialect.name == "postgresql"
            else "strftime('%Y-%m-%d %H:%M:%f000', '2025-01-01', "
            "(value * 365.0 / :many + {0}) || ' days')"
        )
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO session_activity_segment "  # of our own words only
                    "(session_number, event, start_at, end_at, login_id) SELECT s.number, '', "
                    f"{moment.format('0')}, {moment.format('0.04')}, s.login_id "
                    f"FROM {series} JOIN session_activity_session s "
                    "ON s.number = value % :logins + 1"
                ),
                {"many": segments, "logins": LOGINS},
            )
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE session_activity_segment"))


def per_second(work: Callable[[int, int], None], seconds: float) -> float:
    """Return how often a second many threads together do the work: work(thread, step)."""
    counts = [0] * SENDERS
    over = time.monotonic() + seconds

    def loop(number: int) -> None:
        while time.monotonic() < over:
            work(number, counts[number])
            counts[number] += 1

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(SENDERS)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


def taken_per_second(bench: Bench, engine: sa.Engine, turn: int) -> float:
    """Pings of as many computers as there are threads, each waiting until its own is durable."""
    intake = Intake(timedelta(seconds=10), UTC_ZONE)
    own = LOGINS // SENDERS

    def work(number: int, step: int) -> None:
        name = bench.names[number * own + step % own]
        intake.take(engine, [bench.ping(name, 60 + turn * 30 + step // own)])

    return per_second(work, TAKE_S)


def plain_per_second(bench: Bench, engine: sa.Engine) -> float:
    """The baseline: a service that moves the session's end, one update and commit a ping."""
    own = LOGINS // SENDERS
    statement = sa.text(
        "UPDATE session_activity_session SET last_at = :at, ends_at = :ends "
        "WHERE company_id = :company AND id = :id"
    ).bindparams(
        sa.bindparam("at", type_=Session.last_at.type),
        sa.bindparam("ends", type_=Session.ends_at.type),
        sa.bindparam("company", type_=Session.company_id.type),
    )

    def work(number: int, step: int) -> None:
        name = bench.names[number * own + step % own]
        at = bench.start + timedelta(seconds=60 + step // own)
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.execute(
                statement,
                {
                    "at": at,
                    "ends": at + timedelta(minutes=1),
                    "company": bench.scope.company_id,
                    "id": name,
                },
            )

    return per_second(work, TAKE_S)


@contextmanager
def serving(settings: dict[str, str], *plain: str) -> Iterator[tuple[int, int]]:
    """Run the web server as an operator does, or the plain one; yield its port and process."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    more = {
        "PORT": str(port),
        "WEB_PROCESSES": "1" if "sqlite" in settings["DATABASE_URL"] else "2",
    }
    argv = ["gunicorn", "--config", f"file:{ROOT / 'webapp' / 'ops' / 'gunicorn_conf.py'}"]
    if plain:
        argv = [*plain, settings["DATABASE_URL"], str(port)]
    # Its log goes where an operator's goes: through a pipe to somebody who reads it.
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    server = subprocess.Popen(
        [sys.executable, "-m", *argv],
        cwd=ROOT,
        env=os.environ | settings | more,
        stderr=reader.stdin,
    )
    assert reader.stdin is not None
    reader.stdin.close()
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(20)
        reader.wait(20)


class Sender(asyncio.Protocol):
    """A computer's connection: the next ping goes when the last one is answered, until told."""

    def __init__(self, bench: Bench, number: int, until: float) -> None:
        self.bench, self.number, self.until = bench, number, until
        self.is_over = asyncio.get_running_loop().create_future()
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        name = self.bench.names[(self.number + self.answered * HTTP_SENDERS) % LOGINS]
        body = json.dumps({"session_id": name, "login": name, "next_ping_sec": 60})
        self.transport.write(
            f"POST /api/session-manager/activity HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Basic {self.bench.credentials}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 201"):
            self.is_over.set_exception(RuntimeError(str(data[:300])))
        elif time.monotonic() >= self.until:
            self.transport.close()
            self.is_over.set_result(None)
        else:
            self.answered += 1
            self.send()


async def answered_per_second(bench: Bench, port: int, seconds: float) -> float:
    """Return how many single pings a second are answered, each connection waiting for its own."""
    until = time.monotonic() + seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(partial(Sender, bench, n, until), "127.0.0.1", port)
        for n in range(HTTP_SENDERS)
    ]
    await asyncio.gather(*(sender.is_over for _, sender in made))
    return sum(sender.answered for _, sender in made) / seconds


def single_pings(bench: Bench, server: tuple[int, int]) -> tuple[float, float]:
    """Return pings a second, and the CPU of the server's processes a ping, ms."""
    port, pid = server
    asyncio.run(answered_per_second(bench, port, 0.5))
    before = sum(map(cpu_s, [pid, *children(pid)]))
    rate = asyncio.run(answered_per_second(bench, port, TAKE_S * 2))
    spent_s = sum(map(cpu_s, [pid, *children(pid)])) - before
    return rate, spent_s * 1000 / (rate * TAKE_S * 2)


def hold_pace(bench: Bench, port: int) -> list[float]:
    """Send PACE pings a second over HTTP for HOLD_S; return how long each took, ms.

    A ping's time runs from when it was due, so a server that falls behind shows it.
    """
    begun = time.monotonic() + 0.5
    times: list[list[float]] = [[] for _ in range(HTTP_SENDERS)]
    headers = {
        "Authorization": f"Basic {bench.credentials}",
        "Content-Type": "application/json",
    }

    def loop(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for count in range(number, int(PACE * HOLD_S), HTTP_SENDERS):
            due = begun + count / PACE
            time.sleep(max(due - time.monotonic(), 0))
            name = bench.names[count % LOGINS]
            body = {"session_id": name, "login": name, "next_ping_sec": 60}
            path = "/api/session-manager/activity"
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                raise RuntimeError(f"{answer.status}: {text[:200]!r}")
            times[number].append((time.monotonic() - due) * 1000)
        connection.close()

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(HTTP_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [one for part in times for one in part]
    if len(found) != int(PACE * HOLD_S):
        raise RuntimeError("some pings were not answered")
    return found


def month_ms(bench: Bench) -> float:
    """Return how long one login's month takes to read and count, in the middle of 15 times."""
    spent = []
    with bench.app.app_context():
        for number in range(15):
            login = find_login(bench.scope, bench.names[number * 7 % LOGINS])
            assert login is not None
            begun = time.perf_counter()
            in_hours(sum(login_days(login, "", *MONTH, UTC_ZONE).values(), Hours()).person)
            spent.append((time.perf_counter() - begun) * 1000)
    return statistics.median(spent)


def rows_read(bench: Bench) -> int:
    """Return how many segments the database looked at for one login's month (Postgres says)."""
    with bench.app.app_context():
        login = find_login(bench.scope, bench.names[5])
        assert login is not None
        query = segment_query([login.id], "", *MONTH, UTC_ZONE, login.longest_days)
        compiled = query.compile(bench.engine, compile_kwargs={"literal_binds": True})
        with bench.engine.connect() as connection:
            explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {compiled}"
            [plan] = connection.exec_driver_sql(explained.replace("%", "%%")).scalar_one()
    return _segments(plan["Plan"])


def _segments(node: dict[str, Any]) -> int:
    own = 0
    if node.get("Relation Name") == "session_activity_segment":
        own = int(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        )
    return own + sum(_segments(child) for child in node.get("Plans", []))


def run() -> list[Row]:
    """Return the claims with what was measured. Shape: claim, measured, against, ratio, wanted."""
    with database() as url, tempfile.TemporaryDirectory() as folder:
        settings = settings_of(url, folder)
        app = make_app(settings)
        bench = Bench(app)
        rows = [_intake_row(bench, url), _pace_row(bench, settings)]
        rows += [*_single_rows(bench, settings), *_month_rows(bench)]
        with app.app_context():
            db.engine.dispose()
        return rows


def _intake_row(bench: Bench, url: str) -> Row:
    # As many connections as senders, so that the baseline need not wait for one.
    engine = sa.create_engine(url, pool_size=SENDERS, max_overflow=4)
    # In turns, so that whatever else the machine does falls on both.
    turns = [
        (plain_per_second(bench, engine), taken_per_second(bench, engine, turn))
        for turn in range(TURNS)
    ]
    plain, ours = (statistics.median(rates) for rates in zip(*turns, strict=True))
    engine.dispose()
    return {
        "claim": f"pings taken in durably by {SENDERS} senders, against an update and commit each",
        "measured": f"{ours:,.0f}/s",
        "against": f"{plain:,.0f}/s",
        "ratio": ours / plain,
        "wanted": "> 1",
    }


def _pace_row(bench: Bench, settings: dict[str, str]) -> Row:
    with serving(settings) as (port, _):
        # Its processes listen before they are ready.
        asyncio.run(answered_per_second(bench, port, 0.5))
        times = sorted(hold_pace(bench, port))
    middle, slowest = statistics.median(times), times[int(len(times) * 0.99)]
    return {
        "claim": f"{PACE} pings/s over HTTP for {HOLD_S:g} s: 99th in 100 against the median",
        "measured": f"{slowest:.1f} ms",
        "against": f"{middle:.1f} ms",
        "ratio": slowest / middle,
        "wanted": "< 10",
    }


def _single_rows(bench: Bench, settings: dict[str, str]) -> list[Row]:
    if bench.engine.dialect.name == "sqlite":
        return []
    with serving(settings) as ours, serving(settings, "benchmarks.plain_pings") as plain:
        # In turns, so that whatever else the machine does falls on both.
        turns = [(single_pings(bench, ours), single_pings(bench, plain)) for _ in range(TURNS)]
    rate, ms, plain_rate, plain_ms = (
        statistics.median(figures)
        for figures in zip(*((*one, *other) for one, other in turns), strict=True)
    )
    return [
        {
            "claim": f"single pings over HTTP, {HTTP_SENDERS} connections, against a bare service",
            "measured": f"{rate:,.0f}/s",
            "against": f"{plain_rate:,.0f}/s",
            "ratio": rate / plain_rate,
            "wanted": "",
        },
        {
            "claim": "the same, CPU of the web processes a ping",
            "measured": f"{ms:.2f} ms",
            "against": f"{plain_ms:.2f} ms",
            "ratio": ms / plain_ms,
            "wanted": "",
        },
    ]


def _month_rows(bench: Bench) -> list[Row]:
    few = SEGMENTS // 20
    bench.fill(few)
    few_ms = month_ms(bench)
    with bench.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM session_activity_segment"))
    bench.fill(SEGMENTS)
    many_ms = month_ms(bench)
    rows = [
        {
            "claim": f"a month of one login among {SEGMENTS:,} segments, against {few:,}",
            "measured": f"{many_ms:.2f} ms",
            "against": f"{few_ms:.2f} ms",
            "ratio": many_ms / few_ms,
            "wanted": "≤ 2",
        }
    ]
    if bench.engine.dialect.name == "postgresql":
        own, read = SEGMENTS / LOGINS, rows_read(bench)
        rows.append(
            {
                "claim": "segments looked at for that month, against all of that login's",
                "measured": f"{read:,}",
                "against": f"{own:,.0f}",
                "ratio": read / own,
                "wanted": "≤ 1",
            }
        )
    return rows


if __name__ == "__main__":
    for row in run():
        line = f"{row['claim']:<78} {row['measured']:>10} {row['against']:>10}"
        print(f"{line} {row['ratio']:>7.2f}  {row['wanted']}")
