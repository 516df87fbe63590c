"""A kind's charts as the script in the page draws them; the table beside has the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.engine.kind import Chart, ReportKind, Table
from webapp.engine.results import ReadResult


def chart_data(kind: ReportKind, result: ReadResult) -> list[dict[str, Any]]:
    """Return each chart. Shape: table, title, labels, views of label, name, type, unit, values."""
    tables = {table.name: table for table in kind.tables(result.head)}
    return [
        {
            "table": chart.table,
            "title": tables[chart.table].title,
            **_series(kind, result, tables[chart.table], chart),
        }
        for chart in kind.charts(result.head)
    ]


def _series(kind: ReportKind, result: ReadResult, table: Table, chart: Chart) -> Mapping[str, Any]:
    labels: list[Any] = []
    units = {column.name: column.unit for column in table.columns}
    values: dict[str, list[Any]] = {column: [] for _, column, _ in chart.views}
    for stored in result.rows(table.name):
        row = kind.grid_row(table.name, stored, result.head)
        if row.get(chart.x) in chart.leave_out:
            continue
        labels.append(row.get(chart.x))
        for column, found in values.items():
            found.append(row.get(column))
    return {
        "labels": labels,
        "views": [
            {
                "label": label,
                "name": column,
                "type": type_,
                "unit": units.get(column, ""),
                "values": values[column],
            }
            for label, column, type_ in chart.views
        ],
    }
