"""The JSON of a report: what it is about, its sums, and every entry, one a line."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import IO, Any

from webapp.kinds.inventory.bodies import snake
from webapp.kinds.inventory.compute import Line, plain
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import KG, compared, further
from webapp.kinds.inventory.workbooks import ROWS_PER_TICK, Tick


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
        file.write(f'"{_camel(name)}": [\n{body}\n],\n'.encode())
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
        parts.append(f"{json.dumps(_camel(name))}: {text}")
    return "{" + ", ".join(parts) + "}"


def _camelled(told: dict[str, str]) -> dict[str, str]:
    return {_camel(name): value for name, value in told.items()}


def _camel(name: str) -> str:
    first, *others = snake(name).split("_")
    return first + "".join(word.capitalize() for word in others)
