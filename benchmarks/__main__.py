"""`python -m benchmarks [NAME …] [--quick | --full]`: each in a process of its own, and a table.

Without either it takes some twenty minutes. --full takes the largest sizes, and hours.
A benchmark that cannot run (a database that does not answer, a fault) says so and the others go on.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

Row = dict[str, Any]
SAID = 3000
FOLDER = Path(__file__).resolve().parent
COLUMNS = ("claim", "measured", "against", "ratio", "wanted")


def names() -> list[str]:
    """Return the benchmarks there are, by name."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=(__doc__ or "").strip())
    parser.add_argument("name", nargs="*", metavar="NAME", help=", ".join(names()))
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="shorter windows, smaller data")
    size.add_argument("--full", action="store_true", help="the largest data; takes hours")
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Run what was named, or all; return 1 where one could not run, 2 for an unknown name."""
    # Ends the blocks that are open, and with them the workers and servers of a benchmark.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments().parse_args()
    wanted = options.name or names()
    if unknown := sorted(set(wanted) - set(names())):
        print(f"There is no benchmark {unknown[0]}: {', '.join(names())}.", file=sys.stderr)
        return 2
    if options.rows:
        options.rows.write_text(json.dumps(rows_of(wanted[0], quick=options.quick)))
        return 0
    if options.full:
        os.environ["BENCH_FULL"] = "1"
    print(machine(), flush=True)
    if sentence := database_trouble():
        print(sentence, flush=True)
    found = [show(name, quick=options.quick) for name in wanted]
    return 0 if all(found) else 1


def rows_of(name: str, *, quick: bool) -> list[Row]:
    """Run one benchmark in this process."""
    run = importlib.import_module(f"benchmarks.bench_{name}").run
    takes_quick = "quick" in inspect.signature(run).parameters
    rows: list[Row] = run(quick=quick) if takes_quick else run()
    return rows


def show(name: str, *, quick: bool) -> bool:
    """Run one benchmark in a process of its own and print its rows; False when it could not run."""
    print(f"\n{name}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.json"
        argv = [sys.executable, "-m", "benchmarks", name, "--rows", str(path)]
        log = Path(folder) / "log"
        code = finished(argv + ["--quick"] * quick, log)
        if code or not path.exists():
            print(log.read_text(errors="replace")[-SAID:])
            print(f"  could not be run (exit code {code}); what it said last is above", flush=True)
            return False
        rows: list[Row] = json.loads(path.read_text())
    print_table(rows)
    print(f"  took {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    return True


def finished(argv: list[str], log: Path) -> int:
    """Run a program to its end, what it says going into a file; return its exit code."""
    with log.open("wb") as said:
        process = subprocess.Popen(argv, cwd=FOLDER.parent, stdout=said, stderr=said)
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def print_table(rows: list[Row]) -> None:
    """Print rows in columns as wide as they need, with a word where an aim is missed."""
    lines = [dict(zip(COLUMNS, ("", *COLUMNS[1:]), strict=True))]
    lines += [
        {**row, "ratio": "" if row["ratio"] is None else f"{row['ratio']:.3f}"} for row in rows
    ]
    wide = {name: max(len(str(line[name])) for line in lines) for name in COLUMNS}
    for line, row in zip(lines, [None, *rows], strict=True):
        cells = [f"{line['claim']!s:<{wide['claim']}}"]
        cells += [f"{line[name]!s:>{wide[name]}}" for name in COLUMNS[1:]]
        missed = row is not None and not is_met(row)
        print(f"  {'  '.join(cells)}{'  missed' if missed else ''}")


def is_met(row: Row) -> bool:
    """Say whether the ratio is what was wanted; an aim in words is not judged."""
    aim = re.fullmatch(r"([≤≥<>]) ?([0-9.]+)", str(row["wanted"]))
    if aim is None or row["ratio"] is None:
        return True
    ratio, bound = row["ratio"], float(aim[2])
    if aim[1] in "≤≥":
        return bool(ratio <= bound if aim[1] == "≤" else ratio >= bound)
    return bool(ratio < bound if aim[1] == "<" else ratio > bound)


def machine() -> str:
    """Return a line that says where and when this was measured."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores ({platform.machine()}), "
        f"{pages / 2**30:.0f} GiB, Python {platform.python_version()}, load {load}"
    )


def database_trouble() -> str:
    """Return a sentence on the database the benchmarks of stored facts will use.

    They take Postgres where BENCH_DATABASE_URL or TEST_DATABASE_URL names it. One that does not
    answer is taken out of the environment, so that they run on SQLite instead of failing.
    """
    found = [name for name in ("BENCH_DATABASE_URL", "TEST_DATABASE_URL") if os.environ.get(name)]
    if not found:
        return "No BENCH_DATABASE_URL: stored facts are measured on SQLite, not on Postgres."
    url = os.environ[found[0]].replace("postgres://", "postgresql://", 1)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        for name in found:
            del os.environ[name]
        return f"{found[0]} names a database that does not answer: measured on SQLite instead."
    return f"Stored facts are measured on {engine.dialect.name}."


if __name__ == "__main__":
    sys.exit(main())
