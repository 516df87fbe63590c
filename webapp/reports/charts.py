"""A kind's charts as the script in the page draws them; the table beside has the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from webapp.engine.kind import Chart, ReportKind, Row, RowDetail, Table
from webapp.engine.results import ReadResult


def chart_data(kind: ReportKind, result: ReadResult) -> list[dict[str, Any]]:
    """Return each chart that has a number to draw.

    Shape: table, title, labels, views of label, name, type, unit, values
    """
    tables = {table.name: table for table in kind.tables(result.head)}
    charts = [
        {
            "table": chart.table,
            "title": tables[chart.table].title,
            **_series(
                (kind.grid_row(chart.table, row, result.head) for row in result.rows(chart.table)),
                tables[chart.table],
                chart,
            ),
        }
        for chart in kind.charts(result.head)
    ]
    return [chart for chart in charts if has_numbers(chart)]


def has_numbers(chart: Mapping[str, Any]) -> bool:
    """Return whether a chart has anything to draw: all of it may be holes."""
    return any(value is not None for view in chart["views"] for value in view["values"])


def row_chart(detail: RowDetail) -> dict[str, Any]:
    """Return the chart of what a row opens to, oldest first, in the shape of `chart_data`."""
    assert detail.chart is not None
    series = _series(reversed(detail.rows), detail.table, detail.chart)
    return {"table": detail.table.name, "title": detail.title, **series}


def _series(rows: Iterable[Row], table: Table, chart: Chart) -> Mapping[str, Any]:
    labels: list[Any] = []
    units = {column.name: column.unit for column in table.columns}
    values: dict[str, list[Any]] = {column: [] for _, column, _ in chart.views}
    for row in rows:
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
