"""The statement as PDF: title, facts, sums by scope, category and unit."""

from __future__ import annotations

from typing import IO

from webapp.kinds.inventory.compute import TOTAL
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    SCOPE_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
)
from webapp.kinds.inventory.workbooks import Tick
from webapp.lib.pdf import facts, paragraph, table, write_pdf

NOTE = (
    "All emissions in kg CO2 equivalent: quantity times emission factor of each entry, added "
    "without rounding. A dash stands where there is nothing to compare with. The workbook and "
    "the data file of the same report hold the same totals."
)


def write_iso14064(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write the statement of the organisation's emissions."""
    about_it = snapshot.facts
    scopes, categories, units = compared(snapshot)
    of_units = [one for one in UNIT_COLUMNS if one.name not in {"id", "depth"}]
    write_pdf(
        file,
        f"{about_it.name}: {about_it.company}, {about_it.period.name}",
        [
            paragraph("Greenhouse gas inventory, organised after ISO 14064-1."),
            facts(about(snapshot)),
            table("Emissions by scope", SCOPE_COLUMNS, scopes, bold={TOTAL}),
            table("Emissions by category", CATEGORY_COLUMNS, categories),
            table("Emissions by organizational unit", of_units, units, depth="depth"),
            paragraph(NOTE),
        ],
        author=about_it.made_by,
        subject="Greenhouse gas inventory after ISO 14064-1",
        landscape=True,
        made_at=about_it.made_at,
    )
