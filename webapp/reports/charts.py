"""A kind's charts as the script in the page draws them; the table beside has the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.engine.kind import Chart, ReportKind, Row, RowDetail, Table
from webapp.engine.results import ReadResult


def chart_data(kind: ReportKind, result: ReadResult) -> list[dict[str, Any]]:
    """Return each chart that has a number to draw: all of it may be holes.

    Shape: table, title, labels, views of label, name, type, unit, values
    """
    tables = {table.name: table for table in kind.tables(result.head)}
    charts = []
    for chart in kind.charts(result.head):
        table = tables[chart.table]
        rows = (kind.grid_row(table.name, row, result.head) for row in result.rows(table.name))
        charts.append(_chart(table, table.title, rows, chart))
    return [chart for chart in charts if has_numbers(chart)]


def has_numbers(chart: Mapping[str, Any]) -> bool:
    """Return whether a chart has anything to draw."""
    return any(value is not None for view in chart["views"] for value in view["values"])


def row_chart(detail: RowDetail) -> dict[str, Any]:
    """Return the chart of what a row opens to, oldest first, in the shape of `chart_data`."""
    assert detail.chart is not None
    return _chart(detail.table, detail.title, reversed(detail.rows), detail.chart)


def _chart(table: Table, title: str, rows: Iterable[Row], chart: Chart) -> dict[str, Any]:
    units = {column.name: column.unit for column in table.columns}
    drawn = [row for row in rows if row.get(chart.x) not in chart.leave_out]
    views = [
        {
            "label": label,
            "name": name,
            "type": type_,
            "unit": units.get(name, ""),
            "values": [row.get(name) for row in drawn],
        }
        for label, name, type_ in chart.views
    ]
    labels = [row.get(chart.x) for row in drawn]
    return {"table": table.name, "title": title, "labels": labels, "views": views}
