"""Inventory: 200,000 entries to all four files in constant memory, against writing in memory.

Each way runs in a process of its own, whose greatest resident size is what counts. Runs on a SQLite
file; BENCH_DATABASE_URL or TEST_DATABASE_URL (Postgres) makes a database there and drops it.
BENCH_ENTRIES changes the number of entries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.local_stack import database, settings_of
from webapp import create_app
from webapp.accounts import create_user, scope_of
from webapp.engine import service
from webapp.extensions import db
from webapp.kinds.inventory import entries, places
from webapp.kinds.inventory.bodies import PeriodIn, UnitIn

Row = dict[str, Any]
ENTRIES = int(os.environ.get("BENCH_ENTRIES") or 200_000)
UNITS = 40
LOOKED_AT = 100_000
LIMIT_MB = 150


def _fill(database_url: str) -> tuple[str, float]:
    """Store the entries as the product does; return the user and the entries a second."""
    import flask_migrate  # not held by the processes that are measured

    app = create_app(settings_of(database_url, tempfile.mkdtemp()))
    with app.app_context():
        flask_migrate.upgrade()
        user = create_user("bench@example.com", "Bench", "admin", "correct horse battery")
        company_id = user.home_company_id
        (period,) = places.put_periods(
            company_id,
            [PeriodIn.model_validate({"short_name": "2025", **_year()})],
        )
        units = places.put_units(company_id, [UnitIn(name=f"Unit {n}") for n in range(UNITS)])
        names = [unit.id for unit in units]
        began = time.perf_counter()
        bodies = (_body(number, period.id, names) for number in range(ENTRIES))
        checker = entries.Checker(company_id)
        rows = (checker.check(body, number) for number, body in enumerate(bodies))
        entries.store(company_id, rows)
        db.session.commit()
        rate = ENTRIES / (time.perf_counter() - began)
        user_id = user.id
        db.engine.dispose()
    return user_id, rate


def _year() -> dict[str, str]:
    return {"start_date": "2025-01-01", "end_date": "2025-12-31"}


def _body(number: int, period: str, units: list[str]) -> dict[str, Any]:
    return {
        "id": f"entry-{number:07}",
        "period_id": period,
        "unit_id": units[number % len(units)],
        "scope": number % 3 + 1,
        "category": f"Category {number % 15}",
        "description": f"Activity {number % 1000} as the site reported it",
        "quantity": f"{number % 9973}.{number % 100:02}",
        "unit_of_measure": "kWh",
        "emission_factor": f"0.{number % 997 + 1:03}",
        "factor_source": "Made up for this benchmark",
    }


# In a process of its own


def _report(database_url: str, user_id: str) -> dict[str, Any]:
    """Make a report with all files in this process; return seconds and sizes."""
    app = create_app(settings_of(database_url, tempfile.mkdtemp()))
    idle_mb = _peak_mb()
    with app.app_context():
        from webapp.accounts import User

        user = db.session.get_one(User, user_id)
        scope = scope_of(user, user.home_company_id)
        assert scope is not None
        period = places.list_periods(scope.company_id)[0].id
        began = time.perf_counter()
        report = service.run_here(scope, "inventory", {"period": period, "base_period": period})
        seconds = time.perf_counter() - began
        assert report.status == "done", report.error
        assert report.head is not None
        return {
            "seconds": seconds,
            "idle_mb": idle_mb,
            "peak_mb": _peak_mb(),
            "rows": report.head["rows"],
            "bytes": {one["type"]: one["size_bytes"] for one in report.head["files"]},
        }


def _in_memory(database_url: str, user_id: str) -> dict[str, Any]:
    """Read all entries and write the one workbook the plain way: everything held in memory."""
    import xlsxwriter

    app = create_app(settings_of(database_url, tempfile.mkdtemp()))
    idle_mb = _peak_mb()
    with app.app_context():
        from webapp.kinds.inventory.models import Entry

        began = time.perf_counter()
        found = list(db.session.scalars(sa.select(Entry)))
        with (
            tempfile.TemporaryFile() as file,
            xlsxwriter.Workbook(file, {"default_date_format": "yyyy-mm-dd"}) as workbook,
        ):
            page = workbook.add_worksheet("Inventory")
            for line, one in enumerate(found, start=1):
                product = one.quantity * one.factor
                values = [one.id, one.unit_key, one.scope, one.category, one.description]
                values += [float(one.quantity), one.unit_of_measure, float(one.factor)]
                values += [one.factor_source, float(product), one.start_date, one.end_date]
                page.write_row(line, 0, values)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "idle_mb": idle_mb, "peak_mb": _peak_mb(), "rows": len(found)}


def _look(database_url: str, user_id: str) -> dict[str, Any]:
    """Look through a workbook of uploaded entries, every row checked; return CPU and memory."""
    import xlsxwriter

    from webapp.intake import Choices, Rejects, look_at
    from webapp.kinds.inventory import ingest

    app = create_app(settings_of(database_url, tempfile.mkdtemp()))
    with app.app_context(), tempfile.TemporaryDirectory() as folder:
        from webapp.accounts import User

        company_id = db.session.get_one(User, user_id).home_company_id
        assert company_id is not None
        period = places.list_periods(company_id)[0].short_name
        unit = places.ensure_root(company_id).name
        path = Path(folder) / "entries.xlsx"
        with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
            page = book.add_worksheet()
            page.write_row(0, 0, [field.name for field in ingest.FIELDS[:10]])
            for number in range(1, LOOKED_AT + 1):
                texts = ["Heat", f"Boiler {number % 700}", number / 3, "kWh", 0.182, "Made up"]
                page.write_row(number, 0, [f"e-{number}", period, unit, 1, *texts])
        check = ingest.row_checker(company_id, "file")
        idle_mb, began = _peak_mb(), time.process_time()
        look = look_at(path, path.name, ingest.LOADER_ROLES[0], Choices(), check, Rejects())
        assert look["good"] == LOOKED_AT, look
        return {"cpu_s": time.process_time() - began, "mb": _peak_mb() - idle_mb}


def _peak_mb() -> float:
    """Return this program's greatest resident size; a parent's size before exec does not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not tell the greatest resident size")


def _apart(way: str, database_url: str, user_id: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "benchmarks.bench_inventory", way, user_id]
    env = os.environ | {"BENCH_URL": database_url}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run() -> list[Row]:
    """Return the rows of this benchmark."""
    with database() as database_url:
        user_id, rate = _fill(database_url)
        ours = _apart("report", database_url, user_id)
        plain = _apart("plain", database_url, user_id)
        look = _apart("look", database_url, user_id)
    return [
        {
            "claim": f"inventory: greatest memory for {ours['rows']:,} entries, 4 files (MB)",
            "measured": round(ours["peak_mb"], 1),
            "against": f"one workbook in memory: {plain['peak_mb']:.1f}",
            "ratio": round(plain["peak_mb"] / ours["peak_mb"], 2),
            "wanted": f"under {LIMIT_MB} MB",
        },
        {
            "claim": "inventory: memory beyond the idle program (MB)",
            "measured": round(ours["peak_mb"] - ours["idle_mb"], 1),
            "against": f"in memory: {plain['peak_mb'] - plain['idle_mb']:.1f}",
            "ratio": round(
                (plain["peak_mb"] - plain["idle_mb"]) / max(ours["peak_mb"] - ours["idle_mb"], 1), 1
            ),
            "wanted": "at least 4",
        },
        {
            "claim": "inventory: all four files (s)",
            "measured": round(ours["seconds"], 1),
            "against": f"one workbook in memory: {plain['seconds']:.1f}",
            "ratio": round(plain["seconds"] / ours["seconds"], 2),
            "wanted": "at least 0.3",
        },
        {
            "claim": f"inventory: {LOOKED_AT:,} rows of XLSX looked through (s of CPU)",
            "measured": round(look["cpu_s"], 1),
            "against": f"memory: {look['mb']:.0f} MB more",
            "ratio": None,
            "wanted": "under 10 s and 100 MB",
        },
        {
            "claim": "inventory: entries taken in (a second)",
            "measured": round(rate),
            "against": "none",
            "ratio": None,
            "wanted": "",
        },
    ]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        ways = {"report": _report, "plain": _in_memory, "look": _look}
        print(json.dumps(ways[sys.argv[1]](os.environ["BENCH_URL"], sys.argv[2])))
    else:
        for row in run():
            print(row)
