"""The tables that files share: columns with their types, and lines in them.

XLSX, PDF and JSON are written from these lines, so that none has a number of its own.
"""

from __future__ import annotations

from webapp.engine.kind import Column
from webapp.kinds.inventory.compute import (
    Line,
    apart_lines,
    category_lines,
    lines_by,
    scope_lines,
    standard_lines,
    unit_lines,
)
from webapp.kinds.inventory.snapshot import PeriodFacts, Snapshot
from webapp.kinds.inventory.standards import ISO_14064, SCOPE_3, iso_category, scope_3_category

KG = "kg CO2e"

ENTRY_COLUMNS = (
    Column("id", "Entry ID", "id"),
    Column("unit", "Unit"),
    Column("unitId", "Unit ID", "id"),
    Column("scope", "Scope", "integer"),
    Column("category", "Category"),
    Column("description", "Description"),
    Column("quantity", "Quantity", "decimal"),
    Column("unitOfMeasure", "Unit of measure"),
    Column("emissionFactor", "Emission factor", "decimal", "kg CO2e per unit"),
    Column("factorSource", "Source of the factor"),
    Column("gas", "Gas"),
    Column("warmingPotential", "Warming potential", "decimal"),
    Column("basis", "Scope 2 basis"),
    Column("isBiogenic", "Biogenic", "boolean"),
    Column("emissions", "Emissions", "decimal", KG),
    Column("startDate", "Start", "date"),
    Column("endDate", "End", "date"),
    # With these the sheet can be sent in again.
    Column("period", "Period"),
    Column("periodId", "Period ID", "id"),
)
COMPARED = (
    Column("emissions", "Emissions", "decimal", KG),
    Column("base", "Base period", "decimal", KG),
    Column("change", "Change", "decimal", KG),
    Column("change_percent", "Change", "decimal", "%"),
)
SCOPE_COLUMNS = (Column("name", "Scope"), *COMPARED)
CATEGORY_COLUMNS = (
    Column("scope", "Scope", "integer"),
    Column("name", "Category"),
    Column("rows", "Entries", "integer"),
    *COMPARED,
)
STANDARD_COLUMNS = (Column("name", "Category"), Column("rows", "Entries", "integer"), *COMPARED)
GAS_COLUMNS = (
    Column("name", "Gas"),
    Column("warming_potential", "Warming potential", "decimal"),
    Column("rows", "Entries", "integer"),
    *COMPARED,
)
SOURCE_COLUMNS = (
    Column("name", "Source of the factor"),
    Column("rows", "Entries", "integer"),
    Column("emissions", "Emissions", "decimal", KG),
)
UNIT_COLUMNS = (
    Column("name", "Unit"),
    Column("depth", "Level", "integer"),
    Column("scope_1", "Scope 1, own", "decimal", KG),
    Column("scope_2", "Scope 2, own", "decimal", KG),
    Column("scope_3", "Scope 3, own", "decimal", KG),
    Column("own", "Own entries", "decimal", KG),
    Column("emissions", "With all below", "decimal", KG),
    Column("base", "Base period, with all below", "decimal", KG),
    Column("id", "Unit ID", "id"),
)


def compared(snapshot: Snapshot) -> tuple[list[Line], list[Line], list[Line]]:
    """Return the lines by scope (the last is the total), by category and by unit."""
    now, base = snapshot.now, snapshot.base
    return (
        scope_lines(now, base),
        category_lines(now, base),
        unit_lines(now, base, snapshot.facts.units),
    )


def further(snapshot: Snapshot) -> dict[str, list[Line]]:
    """Return the lines of what standards ask beside, by name: none of them is in another total."""
    now, base = snapshot.now, snapshot.base
    gases = lines_by(now.by_gas, base.by_gas if base else None, sorted(now.by_gas))
    for line in gases:
        line["name"], line["warming_potential"] = line.pop("key")
    sources = lines_by(now.by_source, None, now.by_source)
    for line in sources:
        line["name"] = line.pop("key") or "not named"
    return {
        "apart": apart_lines(now, base),
        "scope_3_categories": standard_lines(now, base, SCOPE_3, scope_3_category),
        "iso_14064_categories": standard_lines(now, base, ISO_14064, iso_category),
        "gases": gases,
        "factor_sources": sorted(sources, key=lambda line: -line["rows"]),
    }


def about(snapshot: Snapshot) -> list[tuple[str, str | int]]:
    """Return what a reader needs to know of the report, as label and text."""
    facts = snapshot.facts
    return [
        ("Report", facts.name),
        ("Company", facts.company),
        ("Reporting period", _period(facts.period)),
        ("Base period", _period(facts.base_period) if facts.base_period else "none"),
        ("Organizational unit", f"{facts.unit}, with everything below it"),
        ("Made (UTC)", f"{facts.made_at:%Y-%m-%d %H:%M:%S}"),
        ("Made by", facts.made_by),
        ("Report ID", facts.report_id),
        ("Rows", snapshot.now.rows),
        ("Rows of the base period", snapshot.base.rows if snapshot.base else "none"),
        ("SHA-256 of the data", snapshot.sha256),
    ]


def _period(period: PeriodFacts) -> str:
    return f"{period.name} ({period.start_date} to {period.end_date})"
