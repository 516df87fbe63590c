"""The work of a report: read the data once, make every file from it, sum it up."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from decimal import Decimal
from typing import IO, Any

from flask import current_app

from webapp.engine.kind import Result, Run
from webapp.extensions import db
from webapp.files import store_file
from webapp.kinds.inventory import files, pdf, workbooks
from webapp.kinds.inventory.compute import NO_FACTOR, Line
from webapp.kinds.inventory.params import MADE, InventoryParams
from webapp.kinds.inventory.places import ensure_root
from webapp.kinds.inventory.snapshot import (
    Facts,
    Snapshot,
    read_facts,
    snapshot_transaction,
    take,
)
from webapp.kinds.inventory.tabular import compared
from webapp.kinds.inventory.workbooks import Tick
from webapp.lib.texts import counted

Writer = Callable[[Snapshot, IO[bytes], Tick], None]
WRITERS: dict[str, Writer] = {
    "DATA_DUMP": workbooks.write_inventory,
    "GHG_PROTOCOL": workbooks.write_ghg_protocol,
    "ISO14064": pdf.write_iso14064,
    "REPORT_DATA": workbooks.write_report_data,
}
ROWS_PER_LINE = 50_000


def make_report(params: InventoryParams, run: Run) -> Result:
    """Make the files and return the sums; the files' ids are in the head.

    A restart makes all files anew, from data read anew, so that they always agree.
    """
    files.drop_earlier(run.report_id, run.attempt)
    ensure_root(run.company_id)
    # From here on no transaction of this session stays open.
    db.session.remove()
    run.set_total(len(params.types))
    with tempfile.TemporaryFile(prefix="inventory-") as entries:
        snapshot = _read(params, run, entries)
        run.log(f"{counted(snapshot.now.rows, 'entry')} read; SHA-256 {snapshot.sha256[:16]}….")
        if not snapshot.now.rows:
            run.log("There are no entries in this period and unit.", level="warn")
        waiting = (
            rows
            for source, (_, rows) in snapshot.now.by_source.items()
            if source.startswith(NO_FACTOR)
        )
        if count := sum(waiting):
            waits = f"{counted(count, 'entry')} without a factor: counted as nothing."
            run.log(waits, level="warn")
        made = [_make_file(snapshot, kind, run) for kind in params.types]
        return Result(head=_head(snapshot, made), tables=_tables(snapshot))


def _read(params: InventoryParams, run: Run, entries: IO[bytes]) -> Snapshot:
    with snapshot_transaction() as connection:
        facts = read_facts(connection, params, run.company_id, run.user_id, run.report_id)
        run.log(f"Reading the entries of {facts.unit} in {facts.period.name}.")
        return take(connection, facts, run.company_id, entries, _tick(run, "read"))


def _tick(run: Run, what: str) -> Tick:
    """Return what hears of rows: it ends a cancelled run, and says a word now and then."""

    def tick(rows: int) -> None:
        run.check()
        if rows % ROWS_PER_LINE == 0:
            run.log(f"{rows:,} rows {what}.")

    return tick


def _make_file(snapshot: Snapshot, kind: str, run: Run) -> dict[str, Any]:
    format = MADE[kind]
    name = file_name(snapshot.facts, kind, format)
    with tempfile.TemporaryFile(prefix="inventory-") as content:
        WRITERS[kind](snapshot, content, _tick(run, f"of {kind} written"))
        size_bytes = content.seek(0, 2)
        content.seek(0)
        file_id = store_file(
            run.company_id,
            content,
            kind=kind,
            format=format,
            name=name,
            report_id=run.report_id,
            attempt=run.attempt,
            check=run.check,
        )
    db.session.remove()
    run.advance()
    run.log(f"{kind} is ready: {name}, {size_bytes:,} bytes.")
    return {"id": file_id, "type": kind, "format": format, "name": name, "size_bytes": size_bytes}


def file_name(facts: Facts, kind: str, format: str) -> str:
    """Return a download's name: type, company, period and day, safe on every system.

    It has a standard's name only where the company says what that standard asks of it.
    """
    bare = {"GHG_PROTOCOL": "Scopes", "ISO14064": "Statement"}
    called = bare.get(kind, kind) if facts.not_said else kind
    words = f"{called} {facts.company} {facts.period.name} {facts.made_at:%Y-%m-%d}Z"
    return f"{re.sub(r'[^A-Za-z0-9_]+', '-', words).strip('-')[:150]}.{format.lower()}"


def _head(snapshot: Snapshot, made: list[dict[str, Any]]) -> dict[str, Any]:
    facts, now, base = snapshot.facts, snapshot.now, snapshot.base
    return {
        "name": facts.name,
        "company": facts.company,
        "period": facts.period.told("name"),
        "base_period": facts.base_period.told("name") if facts.base_period else None,
        "unit": {"id": facts.unit_id, "name": facts.unit},
        "generated_at": f"{facts.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "rows": now.rows,
        "base_rows": base.rows if base else None,
        "sha256": snapshot.sha256,
        "emissions": float(now.total),
        "base_emissions": float(base.total) if base else None,
        "by_scope": {f"scope_{scope}": float(value) for scope, value in now.by_scope.items()},
        "files": made,
        "kept_days": current_app.config["INVENTORY_FILES_KEPT_DAYS"],
    }


def _tables(snapshot: Snapshot) -> dict[str, list[Line]]:
    scopes, categories, units = compared(snapshot)

    def in_floats(line: Line) -> Line:
        return {name: float(one) if isinstance(one, Decimal) else one for name, one in line.items()}

    tables = {"scopes": scopes, "units": units, "categories": categories}
    return {name: list(map(in_floats, lines)) for name, lines in tables.items()}
