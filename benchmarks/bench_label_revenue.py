"""Label revenue: loading against a bare COPY of the same file, a report over sums against a scan.

Runs on Postgres (BENCH_DATABASE_URL or TEST_DATABASE_URL), in a database it makes and drops;
without one on SQLite, with fewer streams and without what only Postgres has. One million streams,
BENCH_FULL=1 takes ten, BENCH_STREAMS any number; listeners hear a few of 500 labels each, as
listeners do.
"""

from __future__ import annotations

import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import flask_migrate
import psycopg
import sqlalchemy as sa

from benchmarks.local_stack import database, settings_of
from webapp import create_app
from webapp.accounts import create_user
from webapp.extensions import db
from webapp.kinds.label_revenue import loads, sums
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.breakdown import parts_of
from webapp.kinds.label_revenue.rows import Options, Source

Row = dict[str, Any]
FULL = os.environ.get("BENCH_FULL") == "1"
STREAMS = int(os.environ.get("BENCH_STREAMS") or (10_000_000 if FULL else 1_000_000))
LABELS, TRACKS_A_LABEL, LABELS_HEARD = 500, 40, 8
STREAMS_A_LISTENER = 100
MONTH = date(2025, 6, 1)


def write_files(folder: Path, streams: int) -> dict[Any, Source]:
    """Write users, tracks and streams; each listener hears a few labels most of the time."""
    chance = random.Random(1)
    listeners = max(streams // STREAMS_A_LISTENER, 1)
    with (folder / "users.csv").open("w") as file:
        file.write("user_id;product_type;fee;origin\n")
        for number in range(1, listeners + 1):
            origin = "web" if number % 3 else "app_store"
            file.write(f"{number};premium;{chance.choice(['7,99', '9,99', '14,99'])};{origin}\n")
    tracks = LABELS * TRACKS_A_LABEL
    with (folder / "tracks.json").open("w") as file:
        rows = (
            f'{{"track_id": "T{n}", "track_name": "N{n}", "label": "Label {n % LABELS}"}}'
            for n in range(tracks)
        )
        file.write("[" + ",\n".join(rows) + "]")
    with (folder / "streams.csv").open("w") as file:
        file.write("date;user_id;region;track id;seconds\n")
        for number in range(streams):
            listener = int(chance.random() * listeners) + 1
            label = (listener * 31 + int(chance.random() * LABELS_HEARD) * 57) % LABELS
            track = label + LABELS * int(chance.random() * TRACKS_A_LABEL)
            seconds = 5 + int(chance.random() * 600)
            file.write(
                f"{1 + number * 30 // streams:02d}/06/2025;{listener};NL;T{track};{seconds}\n"
            )
    names = {"users": "users.csv", "streams": "streams.csv", "tracks": "tracks.json"}
    return {role: Source(folder / name, name) for role, name in names.items()}


def bare_copy_s(database_url: str, path: Path) -> float:
    """Return the seconds a plain COPY of the file takes, into a table without any index."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET datestyle TO 'ISO, DMY'")
        connection.execute(
            "CREATE TABLE bare (date date, user_id bigint, region text, track_id text, seconds int)"
        )
        statement = "COPY bare FROM STDIN (FORMAT csv, DELIMITER ';', HEADER)"

        def copy() -> None:
            with connection.cursor().copy(statement) as target, path.open("rb") as file:
                while block := file.read(1 << 20):
                    target.write(block)

        return _timed(copy)


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _scan(company_streams: str) -> None:
    db.session.execute(
        sa.text(
            "SELECT t.label_id, sum(s.seconds) FROM label_revenue_stream s "
            "JOIN label_revenue_label_in_force t ON t.track_id = s.track_id "
            f"WHERE s.date >= '2025-06-01' AND s.date < '{company_streams}' GROUP BY 1"
        )
    ).all()


def run(*, quick: bool = False) -> list[Row]:
    """Return the rows: loading, memory, adding up, reports by both methods."""
    given = os.environ.get("BENCH_DATABASE_URL") or os.environ.get("TEST_DATABASE_URL")
    streams = min(STREAMS, 1_000_000) if quick else STREAMS
    if not given:
        streams = min(streams, 300_000)
    with tempfile.TemporaryDirectory() as name, database() as database_url:
        sources = write_files(Path(name), streams)
        app = create_app(settings_of(database_url, name))
        with app.app_context():
            flask_migrate.upgrade()
            owner = create_user("bench@example.com", "Bench", "admin", "correct horse battery")
            return _measure(owner.home_company_id, sources, database_url, streams)


def _measure(
    company_id: str, sources: dict[Any, Source], database_url: str, streams: int
) -> list[Row]:
    on_postgres = not database_url.startswith("sqlite")
    copy_s = bare_copy_s(database_url, sources["streams"].path) if on_postgres else None
    told = {role: source for role, source in sources.items() if role != "streams"}
    loads.load(company_id, told, Options())
    size_mb = sources["streams"].path.stat().st_size / 1e6
    before = _memory_mb()
    load_s = _timed(lambda: loads.load(company_id, {"streams": sources["streams"]}, Options()))
    grown = _memory_mb() - before
    add_up_s = _timed(lambda: sums.process_pending(company_id))
    scan_s = _timed(lambda: _scan("2025-07-01"))
    pool_s = _timed(lambda: payouts.compute_month(company_id, MONTH, "pool"))
    listener_s = _timed(lambda: payouts.compute_month(company_id, MONTH, "listener"))
    found = [payouts.compute_month(company_id, MONTH, "listener")]
    names = ("track_id", "region")
    parts_s = _timed(lambda: parts_of(company_id, found, names))
    label_s = _timed(lambda: parts_of(company_id, found, names, "Label 7"))
    many = f"{streams / 1e6:g}M streams"
    rows = [
        _row("report by pool, against a scan of the streams", pool_s, scan_s, "≤ 0.1"),
        _row("report by listener, against the same scan", listener_s, scan_s, "≤ 1"),
        _row("tracks and territories of all labels, by listener", parts_s, scan_s, ""),
        _row("tracks and territories of one label, by listener", label_s, scan_s, ""),
    ]
    if copy_s is None:
        return rows
    memory = {
        "claim": "memory grown while loading, against the file",
        "measured": f"{grown:.0f} MB",
        "against": f"{size_mb:.0f} MB",
        "ratio": round(grown / size_mb, 3),
        "wanted": "≤ 0.5",
    }
    return [
        _row(f"load {many}, against a bare COPY of the file", load_s, copy_s, "≤ 2"),
        _row(
            "the same with its indexes built and its monthly sums added up",
            load_s + add_up_s,
            copy_s,
            "",
        ),
        memory,
        *rows,
    ]


def _row(claim: str, measured_s: float, against_s: float, wanted: str) -> Row:
    return {
        "claim": claim,
        "measured": f"{measured_s:.2f} s",
        "against": f"{against_s:.2f} s",
        "ratio": round(measured_s / against_s, 3),
        "wanted": wanted,
    }


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
