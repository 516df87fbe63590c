"""How a file is written, and its rows as values."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from webapp.intake import text
from webapp.intake.cells import (
    ClockCell,
    DateCell,
    DateOrder,
    DurationCell,
    EmptyFormula,
    NumberCell,
    Question,
    own_mark,
    own_order,
    plain_text,
    read_date,
    read_number,
    trouble_of,
)
from webapp.intake.columns import Field, column_letters
from webapp.intake.durations import read_seconds, scale_of
from webapp.intake.text import Told
from webapp.intake.workbook import Workbook
from webapp.lib.texts import counted

# What a cell is that holds a value.
_VALUES = (str, NumberCell, DateCell, DurationCell, ClockCell)
Numbered = tuple[int, list[str]]


@dataclass(frozen=True)
class Format:
    """How a file is written, and its first rows as they stand.

    columns:     the field of each column, None for those that mean none
    header_line: where the header stands; what is above it is skipped
    decimal_mark: empty where no text of a workbook proves one
    values:      what stands for all rows, by field; notes: columns that are kept as notes
    guessed:     columns were filled in by what stands below them
    sheet:       the sheet that is read, None for a CSV file; `sheets` names all of them
    """

    encoding: str
    separator: str
    columns: tuple[str | None, ...]
    header: tuple[str, ...]
    decimal_mark: str = "."
    date_order: DateOrder | None = None
    preview: tuple[tuple[str, ...], ...] = field(default=())
    header_line: int = 1
    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    since_1904: bool = False
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[int, ...] = ()
    questions: tuple[Question, ...] = ()
    guessed: bool = False

    @property
    def ambiguous(self) -> bool:
        """Whether no date tells which of its parts is the day."""
        return any(one.name == "date_order" for one in self.questions)


class Row(NamedTuple):
    """A row of a file: values by field, a sentence for each that cannot be used, its cells.

    values: text, Decimal or date by the field's type; an empty cell of an optional field is absent
    errors: under "" what is wrong with the row as a whole; under its heading what is wrong with a
            cell that no field is read from
    """

    line: int
    values: dict[str, Any]
    errors: dict[str, str]
    cells: tuple[str, ...]


def data_rows(path: Path, found: Format, told: Told = lambda *_: None) -> Iterator[Numbered]:
    """Yield (line, cells) of the rows below the header; rows with nothing in them are skipped.

    Raises: BadFile with the line where the file cannot be read any further
    """
    for line, cells in _all_rows(path, found, told):
        if line > found.header_line and any(map(_holds_anything, cells)):
            yield line, cells


def _all_rows(path: Path, found: Format, told: Told) -> Iterator[Numbered]:
    if found.sheet is None:
        yield from text.csv_rows(path, found.encoding, found.separator, told)
        return
    with Workbook(path) as book:
        sheet = next(one for one in book.sheets if one.name == found.sheet)
        yield from book.rows(sheet, told)


def _holds_anything(cell: str) -> bool:
    return not cell.isspace() if cell else isinstance(cell, EmptyFormula)


def read_rows(
    path: Path, found: Format, fields: Iterable[Field], told: Told = lambda *_: None
) -> Iterator[Row]:
    """Yield the rows of a file as values.

    told:   hears now and then how many bytes of how many are read
    Raises: BadFile, as `data_rows`
    """
    reader = _RowReader(found, tuple(fields))
    for line, cells in data_rows(path, found, told):
        yield reader.read(line, cells)


class _Used(NamedTuple):
    place: int
    name: str
    convert: Callable[[str], Any]
    is_required: bool


class _RowReader:
    """Turns the cells of one file's rows into values."""

    def __init__(self, found: Format, fields: tuple[Field, ...]) -> None:
        by_name = {one.name: one for one in fields}
        self._found = found
        self._used = [
            _Used(place, name, _converter(by_name[name], found, place), by_name[name].required)
            for place, name in enumerate(found.columns)
            if name is not None
        ]
        self._width, self._is_book = len(found.columns), found.sheet is not None
        self._needed = 1 + max((one.place for one in self._used if one.is_required), default=-1)
        self._notes_field = next((one.name for one in fields if one.takes_notes), "")
        named = {*found.values, *found.columns}
        self._made = [one.name for one in fields if one.made and one.name not in named]
        self._alike: Counter[str] = Counter()
        self._constants = {
            name: _converter(by_name[name], found, None)(value)
            for name, value in found.values.items()
        }

    def read(self, line: int, cells: list[str]) -> Row:
        if len(cells) < self._width and (self._is_book or len(cells) >= self._needed):
            cells = [*cells, *[""] * (self._width - len(cells))]
        row = Row(line, dict(self._constants), {}, tuple(cells))
        for place, cell in enumerate(cells):
            if cell.__class__ not in _VALUES or cell[:1] == "#":
                self._add_trouble(row, place, cell)
        if len(cells) < self._width or any(map(str.strip, cells[self._width :])):
            row.errors[""] = self._width_trouble(row)
            return row
        for place, name, convert, is_required in self._used:
            cell = cells[place]
            if (not cell and not is_required) or name in row.errors:
                continue
            try:
                row.values[name] = convert(cell)
            except ValueError as error:
                row.errors[name] = str(error)
        if self._found.notes:
            self._add_notes(row)
        for name in self._made:
            row.values[name] = self._digest(row)
        return row

    def _add_trouble(self, row: Row, place: int, cell: str) -> None:
        """Name a cell that holds no value; a formula without one only where the column is read."""
        found = self._found
        name = heading = None
        if place < self._width:
            name, heading = found.columns[place], found.header[place]
        if isinstance(cell, EmptyFormula) and not name and place not in found.notes:
            return
        letters = column_letters(place)
        if trouble := trouble_of(cell, f"{letters}{row.line}" if self._is_book else ""):
            row.errors[name or heading or letters] = trouble

    def _width_trouble(self, row: Row) -> str:
        count, width = len(row.cells), self._width
        if self._is_book:
            place = next(place for place in range(width, count) if row.cells[place].strip())
            return (
                f"{column_letters(place)}{row.line} holds a value, and the header ends in column "
                f"{column_letters(width - 1)}: write a heading above it, or empty the cell."
            )
        hint = "put a text that holds the separator in quotes" if count > width else "add the rest"
        return f"The row has {counted(count, 'cell')} and the header {width}: {hint}."

    def _add_notes(self, row: Row) -> None:
        told = [
            f"{self._found.header[place]}: {plain_text(row.cells[place])}"
            for place in self._found.notes
            if row.cells[place].strip()
        ]
        before = row.values.get(self._notes_field, "")
        row.values[self._notes_field] = "; ".join([before, *told] if before else told)

    def _digest(self, row: Row) -> str:
        """Return an id of a row's content; rows that are alike are told apart by their order."""
        text = "\n".join(f"{name}={value}" for name, value in sorted(row.values.items()))
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
        self._alike[digest] += 1
        count = self._alike[digest]
        return digest if count == 1 else f"{digest}-{count}"


def _converter(one: Field, found: Format, place: int | None) -> Callable[[str], Any]:
    """Return what reads the cells of a column; without a place: a text for all rows."""
    if one.type == "decimal":
        return lambda cell: read_number(cell, found.decimal_mark or own_mark(cell))
    if one.type in {"date", "day"}:
        cut = one.type == "day"
        return lambda cell: read_date(
            cell,
            found.date_order or own_order(cell),
            since_1904=found.since_1904,
            cut_time=cut,
        )
    if one.type == "seconds":
        heading = found.header[place] if place is not None else ""
        return lambda cell: read_seconds(cell, heading)
    return plain_text


def is_as_written(found: Format) -> bool:
    """Say whether the rows of a CSV file, from its second line on, are its columns alone."""
    return (
        found.sheet is None
        and found.header_line == 1
        and None not in found.columns
        and not found.values
        and not found.notes
        and all(scale_of(heading) == 1 for heading in found.header)
    )
