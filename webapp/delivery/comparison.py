"""Two results of one saved report side by side: what came, what went, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from webapp.delivery.bodies import ComparisonAnswer
from webapp.engine.kind import Column
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult

FIRST = "first"


def compare(before: Sequence[Report], after: Report) -> ComparisonAnswer:
    """Return how the main sheet of a result differs from an earlier one, or from several.

    before: of several, oldest first, each row counts as the first of them has it, and only
            what changed is told
    A row is the same row where the ids and months before its first number agree, or the texts
    there where it has neither.
    A changed row has its key and, of each number that differs, `from`, `to` and `by`.
    """
    keys, new = keyed_rows(after)
    old: dict[tuple[Any, ...], dict[str, Any]] = {}
    counted: dict[tuple[Any, ...], Any] = {}
    for report in before:
        for key, row in keyed_rows(report)[1].items():
            if key not in old:
                old[key], counted[key] = row, counted_at(report)
    several = len(before) != 1
    changed = []
    for key in [key for key in new if key in old]:
        if cells := _differences(old[key], new[key]):
            named = dict(zip(keys, key, strict=True))
            first = {"first_counted_at": counted[key]} if several else {}
            changed.append({**named, **first, "changes": cells})
    moments = {one.id: counted_at(one) for one in (*(before if not several else ()), after)}
    return ComparisonAnswer.model_construct(
        before=FIRST if several else before[0].id,
        after=after.id,
        counted_at=moments,
        # Rows of months that have moved out of a report's range are no news.
        came=[] if several else [row for key, row in new.items() if key not in old],
        went=[] if several else [row for key, row in old.items() if key not in new],
        changed=changed,
    )


def columns_of(report: Report) -> dict[str, Column]:
    """Return by their names the columns of the main sheet that people read; not its details."""
    kind = kinds()[report.kind]
    sheet = kind.sheets(ReadResult(report))[0]
    tables = kind.tables(report.head or {})
    details = {one.name for table in tables for one in table.columns if one.is_detail}
    shown = [one for one in sheet.columns if one.name not in details and one.type != "boolean"]
    return {one.name: one for one in shown}


def counted_at(report: Report) -> Any:
    """Return when a result was made, as its document says."""
    return (report.head or {}).get("generated_at")


def keyed_rows(report: Report) -> tuple[list[str], dict[tuple[Any, ...], dict[str, Any]]]:
    """Return what names the rows of the main sheet, and the rows by their names."""
    sheet = kinds()[report.kind].sheets(ReadResult(report))[0]
    leading = list(takewhile(lambda column: not column.is_number, sheet.columns))
    ids = [column for column in leading if column.type in {"id", "month", "date"}]
    names = [column.name for column in ids or leading]
    rows = {tuple(row.get(name) for name in names): dict(row) for row in sheet.rows}
    return names, rows


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, value in new.items():
        was = old.get(name)
        if was == value or not isinstance(value, int | float | str | type(None)):
            continue
        by = None
        if isinstance(was, int | float) and isinstance(value, int | float):
            by = value - was
        found[name] = {"from": was, "to": value, "by": by}
    return found
