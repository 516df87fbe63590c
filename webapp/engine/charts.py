"""A kind's charts: what the script draws, what is drawn without one, and what they say in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from webapp.engine.kind import Chart, Column, ReportKind, Row, RowDetail, Table
from webapp.engine.results import ReadResult
from webapp.engine.shapes import ChartView

MOST_SERIES = 8
Number = int | float


def chart_data(kind: ReportKind, result: ReadResult) -> list[dict[str, Any]]:
    """Return each chart that has a number to draw: all of it may be holes.

    Shape: table, title, x, labels, is_time, open (places of what is not over), views of label,
           heading, name, type, unit, says, series of name, values
    """
    tables = {table.name: table for table in kind.tables(result.head)}
    charts = []
    for chart in kind.charts(result.head):
        table = tables[chart.table]
        rows = (kind.grid_row(table.name, row, result.head) for row in result.rows(table.name))
        made = chart_of(table, table.title, rows, chart)
        for split in kind.chart_series(chart, result):
            series = [
                {
                    "name": name,
                    "values": [_as_number(values.get(label)) for label in made["labels"]],
                }
                for name, values in _largest(split.series)
            ]
            if len(series) > 1:
                view = {
                    "label": split.label,
                    "heading": f"{made['views'][0]['heading']}, {split.label.lower()}",
                    "name": split.label.lower().replace(" ", "-"),
                    "type": _type_of(split.type, made["labels"]),
                    "unit": split.unit,
                    "series": series,
                    "says": _largest_says(series, split.unit),
                }
                made["views"].append(view)
        # What has no number is not drawn where another view has some.
        made["views"] = [
            view
            for view in made["views"]
            if any(value is not None for one in view["series"] for value in one["values"])
        ]
        if made["views"]:
            charts.append(made)
    return charts


def opened(kind: ReportKind, name: str, row: Row, result: ReadResult) -> RowDetail | None:
    """Return what a row opens to where its table says so: its own rows of another, and a chart."""
    tables = {table.name: table for table in kind.tables(result.head)}
    table = tables.get(name)
    if table is None or not table.opens_into[0]:
        return None
    other, column = tables[table.opens_into[0]], table.opens_into[1]
    rows = [
        kind.grid_row(other.name, one, result.head)
        for one in result.rows(other.name)
        if one.get(column) == row.get(column)
    ]
    rows.sort(key=lambda one: str(one.get(other.sort)), reverse=True)
    known = {one.name for one in table.columns if not one.is_number}
    columns = [one for one in other.columns if one.name not in known and not one.is_detail]
    columns.sort(key=lambda one: one.name != other.sort)
    views: tuple[ChartView, ...] = tuple(
        (one.label, one.name, "line") for one in columns if one.is_number
    )
    shown = replace(other, columns=tuple(columns))
    title = str(row.get(table.head_column))
    return RowDetail(title, shown, tuple(rows), Chart(other.name, other.sort, views))


def row_chart(detail: RowDetail) -> dict[str, Any]:
    """Return the chart of what a row opens to, oldest first, in the shape of `chart_data`."""
    assert detail.chart is not None
    return chart_of(detail.table, detail.title, reversed(detail.rows), detail.chart)


def chart_of(table: Table, title: str, rows: Iterable[Row], chart: Chart) -> dict[str, Any]:
    """Return a chart over rows, oldest first, in the shape of `chart_data`."""
    columns = {column.name: column for column in table.columns}
    drawn = [row for row in rows if row.get(chart.x) not in chart.leave_out]
    labels = [str(row.get(chart.x)) for row in drawn]
    x = columns.get(chart.x) or Column(chart.x, chart.x)
    is_time = x.type in {"month", "date"}
    open_ = [place for place, row in enumerate(drawn) if chart.open and row.get(chart.open)]
    views: list[dict[str, Any]] = []
    for label, name, type_ in chart.views:
        column = columns.get(name) or Column(name, label)
        view = {
            "label": label,
            "heading": f"{column.label} by {x.label.lower()}",
            "name": name,
            "type": _type_of(type_, labels),
            "unit": column.unit,
            "series": [{"name": label, "values": [_as_number(row.get(name)) for row in drawn]}],
        }
        views.append(view | {"says": says(view, labels, is_time=is_time, open_=open_)})
    return {
        "table": table.name,
        "title": title,
        "x": x.label,
        "labels": labels,
        "is_time": is_time,
        "open": open_,
        "views": views,
    }


def _type_of(type_: str, labels: Sequence[str]) -> str:
    """Return how a view is drawn: a line of one point would be a dot at the edge."""
    return type_ if len(labels) > 1 else "bar"


def _largest(
    series: Mapping[str, Mapping[str, Number | None]],
) -> list[tuple[str, Mapping[str, Number | None]]]:
    def size(one: tuple[str, Mapping[str, Number | None]]) -> float:
        return -max((float(value) for value in one[1].values() if value is not None), default=0)

    drawn = [one for one in series.items() if any(v is not None for v in one[1].values())]
    return sorted(drawn, key=size)[:MOST_SERIES]


def _largest_says(series: Sequence[Mapping[str, Any]], unit: str) -> str:
    known = [value for value in series[0]["values"] if value is not None]
    if not known:
        return ""
    most = f"{_figure_text(max(known))}{f' {unit}' if unit else ''}"
    words = f"Largest: {series[0]['name']}, up to {most}."
    return words + f" Drawn are the {MOST_SERIES} largest." * (len(series) == MOST_SERIES)


def _as_number(value: Any) -> Number | None:
    if value is None or isinstance(value, int | float):
        return value
    return float(value)


def says(
    view: Mapping[str, Any], labels: Sequence[str], *, is_time: bool, open_: Sequence[int] = ()
) -> str:
    """Return the message of a view of one series, in a sentence; empty where there is none."""
    known = [
        (value, label)
        for place, (value, label) in enumerate(
            zip(view["series"][0]["values"], labels, strict=True)
        )
        if value is not None and place not in open_
    ]
    if not known:
        return "Nothing is known yet."
    unit = f" {view['unit']}" if view["unit"] else ""
    highest, lowest = max(known), min(known)
    if len(known) == 1:
        return f"{known[0][1]}: {_figure_text(known[0][0])}{unit}."
    if is_time and view["type"] == "line":
        first, last = known[0], known[-1]
        share = last[0] / first[0] - 1 if first[0] > 0 else 0
        change = f" ({share:+.0%})".replace("%", " %") if share else ""
        moved = "unchanged at" if first[0] == last[0] else f"from {_figure_text(first[0])} to"
        return (
            f"{moved[0].upper()}{moved[1:]} {_figure_text(last[0])}{unit}{change} between "
            f"{first[1]} and {last[1]}; highest in {highest[1]}."
        )
    if is_time:
        whole = sum(value for value, _ in known)
        return (
            f"Strongest {highest[1]} ({_figure_text(highest[0])}), weakest {lowest[1]} "
            f"({_figure_text(lowest[0])}); {_figure_text(whole)}{unit} in all."
        )
    whole = sum(value for value, _ in known)
    share = (
        f", {highest[0] / whole:.0%} of all".replace("%", " %") if lowest[0] >= 0 < whole else ""
    )
    return f"Largest: {highest[1]}, {_figure_text(highest[0])}{unit}{share}."


def _figure_text(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
