"""The two workbooks and the JSON of a report, in constant memory: rows go to disk as written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import chain, islice
from typing import IO, Any

from pydantic.alias_generators import to_camel

from webapp.kinds.inventory.compute import SCOPES, TOTAL, Line
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    ENTRY_COLUMNS,
    GAS_COLUMNS,
    KG,
    SCOPE_COLUMNS,
    STANDARD_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
    further,
)
from webapp.lib.texts import plain
from webapp.lib.workbooks import SheetWriter, new_workbook

# Excel has 1,048,576 rows; the rest goes on a further sheet.
ROWS_PER_SHEET = 1_000_000
ROWS_PER_TICK = 2000
Tick = Callable[[int], None]


def write_inventory(snapshot: Snapshot, file: IO[bytes], tick: Tick) -> None:
    """Write the inventory: every entry, the sums, and what the report is about."""

    def ticking() -> Iterator[Line]:
        for count, line in enumerate(snapshot.entries(), start=1):
            yield line
            if count % ROWS_PER_TICK == 0:
                tick(count)

    with _workbook(snapshot, file) as book:
        lines, sheets = ticking(), 0
        while (first := next(lines, None)) or not sheets:
            sheets += 1
            of_sheet = islice(chain([first] if first else [], lines), ROWS_PER_SHEET)
            title = f"Inventory {sheets}" if sheets > 1 else "Inventory"
            book.table(title, ENTRY_COLUMNS, of_sheet)
        scopes, categories, units = compared(snapshot)
        book.table("Totals by scope", SCOPE_COLUMNS, scopes[:-1], total=scopes[-1])
        total = {**scopes[-1], "scope": None, "rows": snapshot.now.rows}
        book.table("Totals by category", CATEGORY_COLUMNS, categories, total=total)
        book.table("Totals by unit", UNIT_COLUMNS, units)


def write_ghg_protocol(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write scopes 1, 2 and 3 against the base period, each with its categories."""
    with _workbook(snapshot, file) as book:
        scopes, categories, units = compared(snapshot)
        book.table("Summary", SCOPE_COLUMNS, scopes[:-1], total=scopes[-1])
        for scope, of_scope in zip(SCOPES, scopes[:-1], strict=True):
            lines = [line for line in categories if line["scope"] == scope]
            rows = sum(line["rows"] for line in lines)
            total = {**of_scope, "scope": scope, "name": TOTAL, "rows": rows}
            book.table(f"Scope {scope}", CATEGORY_COLUMNS, lines, total=total)
        book.table("Units", UNIT_COLUMNS, units)
        more = further(snapshot)
        book.table("Scope 3, 15 categories", STANDARD_COLUMNS, more["scope_3_categories"])
        book.table("Scope 2 and biogenic", SCOPE_COLUMNS, more["apart"])
        if more["gases"]:
            book.table("Gases", GAS_COLUMNS, more["gases"])


@contextmanager
def _workbook(snapshot: Snapshot, file: IO[bytes]) -> Iterator[SheetWriter]:
    """Yield what writes the sheets of a workbook; the last says what the report is about."""
    facts = snapshot.facts
    with new_workbook(file) as workbook:
        workbook.set_properties(
            {
                "title": f"{facts.name}: {facts.company}, {facts.period.name}",
                "author": facts.made_by,
                "created": facts.made_at.replace(tzinfo=None),
            }
        )
        footer = f"{facts.company}, {facts.period.name}"
        writer = SheetWriter(workbook, footer, "#,##0.00####", facts.settings.paper)
        yield writer
        writer.facts("About", about(snapshot))


def write_report_data(snapshot: Snapshot, file: IO[bytes], tick: Tick) -> None:
    """Write the document; its entries are the very lines of the snapshot."""
    scopes, categories, units = compared(snapshot)
    head = json.dumps(_head(snapshot), ensure_ascii=False)[:-1]
    file.write(f"{head},\n".encode())
    total = _object(scopes[-1])
    file.write(f'"total": {total},\n'.encode())
    sections = {"scopes": scopes[:-1], "categories": categories, "units": units}
    for name, lines in (sections | further(snapshot)).items():
        body = ",\n".join(_object(line) for line in lines)
        file.write(f'"{to_camel(name)}": [\n{body}\n],\n'.encode())
    file.write(b'"entries": [\n')
    for count, line in enumerate(snapshot.lines(), start=1):
        file.write((b",\n" if count > 1 else b"") + line.rstrip(b"\n"))
        if count % ROWS_PER_TICK == 0:
            tick(count)
    file.write(b"\n]}\n")


def _head(snapshot: Snapshot) -> dict[str, Any]:
    facts = snapshot.facts
    return {
        "id": facts.report_id,
        "name": facts.name,
        "jsonVersion": 1,
        "company": facts.company,
        "reportingPeriod": _camelled(facts.period.told("short_name")),
        "baseReportingPeriod": (
            _camelled(facts.base_period.told("short_name")) if facts.base_period else None
        ),
        "organizationUnit": {"id": facts.unit_id, "name": facts.unit},
        "createdOn": f"{facts.made_at:%Y-%m-%dT%H:%M:%SZ}",
        "createdBy": facts.made_by,
        "unitOfEmissions": KG,
        "rows": snapshot.now.rows,
        "baseRows": snapshot.base.rows if snapshot.base else None,
        "sha256": snapshot.sha256,
    }


def _object(line: Line) -> str:
    """Return a line as JSON, its decimals digit by digit."""
    parts = []
    for name, value in line.items():
        text = plain(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{json.dumps(to_camel(name))}: {text}")
    return "{" + ", ".join(parts) + "}"


def _camelled(told: dict[str, str]) -> dict[str, str]:
    return {to_camel(name): value for name, value in told.items()}
