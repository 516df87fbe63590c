"""The shapes a kind describes itself with: columns, tables, sheets, charts, figures, a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from webapp.lib.workbooks import Column as Column
from webapp.lib.workbooks import ColumnType as ColumnType

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A stored table of a result: one array in the JSON document, one grid on the page.

    sort, descending: the order of the grid while nobody asks for another; rows without a value last
    head:    the column that names a row; the first one where none is named
    remark:  a column that is not shown as one: its text stands below the head of its row
    problem: the remark says what is wrong with a row; such rows can be shown alone
    folded:  a boolean column; its rows are folded away below the row whose `parent[1]` is their
             `parent[0]`, until they are asked for
    opens:   a row has a page of its own, see `ReportKind.row_detail`
    opens_into: (table, column): a row opens to the rows of this table that say the same there
    explained: columns whose values say where they come from (`ReportKind.explain`), at a click
    row_key:   (query parameter, member of a row) by which a row is explained
    total:     what the row of totals among the stored ones is called; a grid shows it at its foot
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    empty: str = "There is nothing to show."
    sort: str = ""
    descending: bool = False
    head: str = ""
    remark: str = ""
    problem: bool = False
    folded: str = ""
    parent: tuple[str, str] = ("", "")
    opens: bool = False
    opens_into: tuple[str, str] = ("", "")
    explained: frozenset[str] = frozenset()
    row_key: tuple[str, str] = ("row", "")
    total: str = ""

    @property
    def head_column(self) -> str:
        """Return the name of the column that names a row."""
        return self.head or self.columns[0].name


@dataclass(frozen=True)
class Sheet:
    """A flat table as CSV and XLSX give it; the first one of a kind is the plain CSV.

    beside: further columns that only a workbook has, where the CSV's are fixed
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Iterable[Row]
    beside: tuple[Column, ...] = ()


# (label, column, how it is drawn)
ChartView = tuple[str, str, Literal["line", "bar"]]


@dataclass(frozen=True)
class FirstStep:
    """What a company does before its first report of a kind: a sentence, and where it is done.

    blocks: no report can be made before
    """

    sentence: str
    label: str
    address: str
    blocks: bool = True


@dataclass(frozen=True)
class Explanation:
    """Where one value of a result comes from.

    source:     `live` (asked in this report), `stored`, `implied` by other values, `computed`
    counted_at: RFC 3339, the oldest of what it is made of
    query:      what was asked, without secrets; None where nothing was asked for it
    implied_by: the values that imply it, or that it is made of
    left_out:   what could belong to it and does not: name, reason, its ID for programs
    """

    value: Any
    source: Literal["live", "stored", "implied", "computed"]
    counted_at: str | None = None
    query: str | None = None
    implied_by: list[Row] | None = None
    left_out: list[Row] | None = None


@dataclass(frozen=True)
class Chart:
    """A chart over one table: `x` names the label column; each view is (label, column, type).

    leave_out: labels of lines that are not drawn, such as a total beside its parts
    open:      the member of a row that says that its month is not over
    """

    table: str
    x: str
    views: tuple[ChartView, ...]
    leave_out: frozenset[str] = frozenset()
    open: str = ""


@dataclass(frozen=True)
class ChartSeries:
    """A further view of a chart: several lines, each by name, its values by the chart's labels."""

    label: str
    unit: str
    series: Mapping[str, Mapping[str, Any]]
    type: Literal["line", "bar"] = "line"


def split_by(
    label: str,
    rows: Iterable[Row],
    name: str,
    x: str,
    value: str,
    unit: str,
    type: Literal["line", "bar"] = "line",
) -> ChartSeries:
    """Return a view with a line for each value of a column; rows of one place are added up."""
    series: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row[value] is not None:
            own = series.setdefault(str(row[name]), {})
            own[row[x]] = own.get(row[x], 0) + row[value]
    return ChartSeries(label, unit, series, type)


@dataclass(frozen=True)
class Figure:
    """A figure on top of a result: label, value as typed data, its type, a note below it."""

    label: str
    value: Any
    type: ColumnType = "integer"
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What a result says, before anything else is read: a sentence or two, and the figures."""

    sentence: str
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class RowDetail:
    """What a row opens to: a title, a table of its own with its rows, a chart of them."""

    title: str
    table: Table
    rows: tuple[Row, ...]
    chart: Chart | None = None


@dataclass(frozen=True)
class Download:
    """A file of a result beside CSV, XLSX and JSON: its label, address, size in bytes if known."""

    label: str
    address: str
    size_bytes: int | None = None


@dataclass
class Result:
    """What a run gives back.

    head:     the members of the JSON document beside the tables, JSON values only
    tables:   name of a Table → its rows, JSON values only; an iterable, so that large ones stream
    complete: False makes the report `incomplete`
    """

    head: dict[str, Any]
    tables: Mapping[str, Iterable[Row]]
    complete: bool = True


@dataclass(frozen=True)
class Estimate:
    """About how many calls to come, how many stored months save, how long it takes (seconds)."""

    calls: int
    saved: int
    seconds: float
