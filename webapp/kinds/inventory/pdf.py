"""The statement as PDF: the result first, then units, methods and boundaries, then the facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from typing import IO, Any

from webapp.engine.kind import Column
from webapp.kinds.inventory.compute import EXACT, SCOPES, TOTAL, Line
from webapp.kinds.inventory.snapshot import Snapshot
from webapp.kinds.inventory.tabular import (
    CATEGORY_COLUMNS,
    GAS_COLUMNS,
    KG,
    SCOPE_COLUMNS,
    SOURCE_COLUMNS,
    STANDARD_COLUMNS,
    UNIT_COLUMNS,
    about,
    compared,
    further,
)
from webapp.kinds.inventory.workbooks import Tick
from webapp.lib.pdf import Block, chart, facts, headline, paragraph, shown, table, write_pdf

TONNES = "t CO2e"
BARS = 12
NOT_SAID = "Not stated. An admin can enter it on the page Inventory, Text of statements."


def write_iso14064(snapshot: Snapshot, file: IO[bytes], _tick: Tick) -> None:
    """Write the statement of the organisation's emissions."""
    told, said = snapshot.facts, snapshot.facts.settings
    write_pdf(
        file,
        f"{told.name}: {told.company}, {told.period.name}",
        [*_result(snapshot), *_further(snapshot), *_methods(snapshot)],
        author=told.made_by,
        subject="Greenhouse gas inventory, organised after ISO 14064-1",
        paper="us-letter" if said.paper == "us-letter" else "a4",
        made_at=told.made_at,
    )


def places_of(total: Decimal) -> int:
    """Return the digits after the point of all tonnes of a statement: one, three below 10 t."""
    return 1 if abs(total) >= 10_000 else 3


class _Tonnes:
    """Turns columns and lines in kg into tonnes, by one rule for the whole statement."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._places = places_of(snapshot.now.total)
        self._has_base = snapshot.base is not None
        self.column = Column("emissions", "Emissions", "decimal", TONNES, places=self._places)

    def columns(self, columns: Iterable[Column]) -> list[Column]:
        """Return columns in tonnes; without a base period those that compare are left out."""
        found = []
        for one in columns:
            if one.name in {"base", "change", "change_percent"} and not self._has_base:
                continue
            if one.unit == KG:
                one = replace(one, unit=TONNES, places=self._places)
            found.append(replace(one, places=1) if one.unit == "%" else one)
        return found

    def table(
        self, title: str, columns: Iterable[Column], lines: Iterable[Line], **more: Any
    ) -> Block:
        """Return a table of lines in kg."""
        return table(title, self.columns(columns), map(self.line, lines), **more)

    def line(self, line: Line) -> Line:
        """Return a line in tonnes."""
        return {
            name: EXACT.scaleb(value, -3)
            if isinstance(value, Decimal) and name != "change_percent"
            else value
            for name, value in line.items()
        }

    def bars(self, title: str, lines: Sequence[Line], series: Sequence[str]) -> Block:
        """Return a chart of lines in kg."""
        members = ("emissions", "base") if self._has_base else ("emissions",)
        drawn = [
            (str(line["name"]), [self.line(line)[member] for member in members]) for line in lines
        ]
        return chart(title, self.column, drawn, series if self._has_base else ())


def _result(snapshot: Snapshot) -> list[Block]:
    """Return the total, and what it is made of by scope and category."""
    told, tonnes = snapshot.facts, _Tonnes(snapshot)
    scopes, categories, _ = compared(snapshot)
    total = tonnes.line(scopes[-1])
    base = told.base_period
    against = (
        f"{base.name}: {shown(total['base'], tonnes.column)} {TONNES}; change "
        f"{shown(total['change'], tonnes.column)} {TONNES}{_percent(total['change_percent'])}"
        if base
        else "There is no base period to compare with."
    )
    series = [told.period.name, base.name] if base else []
    missing = f", but without {', '.join(told.not_said)}" if told.not_said else ""
    where = ", ".join(dict.fromkeys((told.company, told.unit)))
    by_size = sorted(categories, key=lambda line: -abs(line["emissions"]))
    with_subtotals: list[Line] = []
    for scope, lines in groupby(categories, key=lambda line: line["scope"]):
        of_scope = list(lines)
        rows = sum(line["rows"] for line in of_scope)
        subtotal = {**scopes[scope - 1], "scope": scope, "rows": rows, "name": _subtotal(scope)}
        with_subtotals += [*of_scope, subtotal]
    by_category = [
        tonnes.bars(
            "Categories" if len(by_size) <= BARS else f"The {BARS} largest categories",
            by_size[:BARS],
            series,
        ),
        tonnes.table(
            "Emissions by category",
            [CATEGORY_COLUMNS[1], CATEGORY_COLUMNS[0], *CATEGORY_COLUMNS[2:]],
            with_subtotals,
            bold=set(map(_subtotal, SCOPES)),
        ),
    ]
    return [
        paragraph(
            f"{where} with everything below it, from {told.period.start_date} to "
            f"{told.period.end_date}. Organised after ISO 14064-1{missing}."
        ),
        headline(f"{shown(total['emissions'], tonnes.column)} {TONNES}", against),
        tonnes.table("Emissions by scope", SCOPE_COLUMNS, scopes, bold={TOTAL}),
        tonnes.bars("Scopes", scopes[:-1], series),
        *(by_category if categories else [paragraph("There are no entries to add up.")]),
    ]


def _percent(change: Decimal | None) -> str:
    return "" if change is None else f", {change:z,.1f} %"


def _subtotal(scope: int) -> str:
    return f"Scope {scope}, subtotal"


def _further(snapshot: Snapshot) -> list[Block]:
    """Return what standards ask beside, and the units."""
    tonnes, more = _Tonnes(snapshot), further(snapshot)
    units = compared(snapshot)[2]
    of_units = [one for one in UNIT_COLUMNS if one.name not in {"id", "depth"}]
    blocks = [
        tonnes.table("Categories of ISO 14064-1", STANDARD_COLUMNS, more["iso_14064_categories"]),
        tonnes.table(
            "Scope 2 by location and by market, and biogenic", SCOPE_COLUMNS, more["apart"]
        ),
    ]
    if snapshot.now.by_scope[3] or any(line["rows"] for line in more["scope_3_categories"]):
        blocks.append(
            tonnes.table(
                "Fifteen categories of scope 3", STANDARD_COLUMNS, more["scope_3_categories"]
            )
        )
    if more["gases"]:
        blocks.append(tonnes.table("Gases that entries name", GAS_COLUMNS, more["gases"]))
    blocks.append(tonnes.table("Organizational units", of_units, units, depth="depth"))
    return blocks


def _methods(snapshot: Snapshot) -> list[Block]:
    """Return methods, sources, boundaries and who answers for them; then what the data is."""
    tonnes, said = _Tonnes(snapshot), snapshot.facts.settings
    places = places_of(snapshot.now.total)
    digits = "one digit" if places == 1 else f"{places} digits"
    return [
        facts(
            [
                ("Responsible person", said.responsible or NOT_SAID),
                ("Boundaries", said.boundaries or NOT_SAID),
                ("Methods", said.methods or NOT_SAID),
                ("Sources of factors", said.factor_sources or NOT_SAID),
            ],
            "Methods and boundaries",
        ),
        tonnes.table(
            "Sources of the factors used", SOURCE_COLUMNS, further(snapshot)["factor_sources"]
        ),
        facts(about(snapshot), "Facts"),
        paragraph(
            f"All tonnes are shown with {digits} after the point, and added before they are "
            "rounded. Emissions are quantity times emission factor of each entry, and times the "
            "warming potential where an entry names one. Totals hold scope 2 by location; biogenic "
            "emissions are in no total; gases and sources of factors count every entry. A dash "
            "stands where there is nothing to compare with. The workbook and the data file of the "
            "same report hold the same totals."
        ),
    ]
