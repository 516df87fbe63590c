"""The shapes a kind describes itself with: columns, tables, sheets, charts, figures, a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

ColumnType = Literal["text", "id", "integer", "decimal", "date", "datetime", "month", "boolean"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    name:   key in rows, in JSON and in the CSV header
    label:  what a reader sees above it
    type:   decides alignment, sorting, the XLSX cell type; `id` is text made of digits
    unit:   shown beside the label, e.g. "hours"
    places: digits after the point that a workbook shows of a decimal, 0 to 6
    """

    name: str
    label: str
    type: ColumnType = "text"
    unit: str = ""
    places: int = 2

    @property
    def is_number(self) -> bool:
        return self.type in {"integer", "decimal"}


@dataclass(frozen=True)
class Table:
    """A stored table of a result: one array in the JSON document, one grid on the page."""

    name: str
    title: str
    columns: tuple[Column, ...]
    empty: str = "There is nothing to show."


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


@dataclass(frozen=True)
class Chart:
    """A chart over one table: `x` names the label column; each view is (label, column, type).

    leave_out: labels of lines that are not drawn, such as a total beside its parts
    """

    table: str
    x: str
    views: tuple[tuple[str, str, Literal["line", "bar"]], ...]
    leave_out: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A figure on top of a result: label, value as typed data, its type, a note below it."""

    label: str
    value: Any
    type: ColumnType = "integer"
    note: str = ""


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
