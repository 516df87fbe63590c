"""How a file is written, found out and never guessed; its rows as values.

`detect` answers with a `Format`: encoding, separator or sheet, the line of the header and which
field each column is, decimal mark and order of dates. What the file cannot tell is a `Question` in
it, which somebody has to answer with `Choices` before the file is read. `read_rows` yields rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from webapp.intake import text
from webapp.intake.cells import DateOrder, plain_text, read_date, read_number, trouble_of
from webapp.intake.columns import Field, column_letters, places_of
from webapp.intake.marks import Proof, Question, mark_of, mark_question, order_of, order_question
from webapp.intake.text import BadFile, Told
from webapp.intake.workbook import Workbook, is_workbook

# A header stands within so many rows; titles, dates and notes may stand above it.
HEADER_WITHIN = 30
PREVIEW_ROWS = 5
PROOF_ROWS = 2_000
Numbered = tuple[int, list[str]]


@dataclass(frozen=True)
class Choices:
    """What a person says of a file; None where it is for the program to find out.

    sheet: of a workbook, by name
    """

    encoding: str | None = None
    separator: str | None = None
    decimal_mark: str | None = None
    date_order: DateOrder | None = None
    sheet: str | None = None


@dataclass(frozen=True)
class Format:
    """How a file is written, and its first rows as they stand.

    columns:     the field of each column, None for those that mean none
    header_line: where the header stands; what is above it is skipped
    decimal_mark: empty where no text of a workbook proves one
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
    questions: tuple[Question, ...] = ()

    @property
    def ambiguous(self) -> bool:
        """Whether no date tells which of its parts is the day."""
        return any(one.name == "date_order" for one in self.questions)


class Row(NamedTuple):
    """A row of a file: values by field, a sentence for each that cannot be used, its cells.

    values: text, Decimal or date by the field's type; an empty cell of an optional field is absent
    errors: under "" what is wrong with the row as a whole
    """

    line: int
    values: dict[str, Any]
    errors: dict[str, str]
    cells: tuple[str, ...]


def detect(path: Path, fields: Sequence[Field], choices: Choices = Choices()) -> Format:
    """Return how a file is written; what a person says goes before what is seen.

    Raises: BadFile with the sentence of what is missing
    """
    found = (_book_format if is_workbook(path) else _text_format)(path, fields, choices)
    _check_columns(found, fields)
    return _with_marks(path, found, fields, choices)


def _book_format(path: Path, fields: Sequence[Field], choices: Choices) -> Format:
    """Return the format of the sheet that is chosen, or else of the one that fits best."""
    with Workbook(path) as book:
        named = [sheet for sheet in book.sheets if sheet.name == choices.sheet]
        if choices.sheet and not named:
            names = ", ".join(sheet.name for sheet in book.sheets)
            raise BadFile(f"The workbook has no sheet {choices.sheet}; it has {names}.")
        seen = named or [sheet for sheet in book.sheets if not sheet.is_hidden] or book.sheets
        formats = []
        for sheet in seen:
            rows = list(islice(book.rows(sheet), HEADER_WITHIN + PREVIEW_ROWS))
            if rows:
                blank = Format("", "", (), (), sheet=sheet.name, since_1904=book.since_1904)
                formats.append(_with_header(blank, rows, fields))
        if not formats:
            raise BadFile("The workbook has no row in it.")
        every = tuple(sheet.name for sheet in book.sheets)
        return replace(max(formats, key=_known), sheets=every)


def _text_format(path: Path, fields: Sequence[Field], choices: Choices) -> Format:
    encoding = choices.encoding or text.detect_encoding(path)
    questions: tuple[Question, ...] = ()
    if encoding == "utf-8" and not text.is_text(path, encoding):
        encoding, questions = text.WESTERN, (_encoding_question(path),)
    sample = text.read_sample(path, encoding)
    told = choices.separator or text.told_separator(sample)
    formats = []
    for separator in (told,) if told else text.SEPARATORS:
        rows = text.sample_rows(sample, separator, HEADER_WITHIN + PREVIEW_ROWS)
        rows = [(line, cells) for line, cells in rows if any(map(str.strip, cells))]
        if rows:
            blank = Format(encoding, separator, (), (), questions=questions)
            formats.append(_with_header(blank, rows, fields))
    if not formats:
        raise BadFile("The file is empty.")
    return max(formats, key=_known)


def _encoding_question(path: Path) -> Question:
    if not text.is_text(path, text.WESTERN):
        raise BadFile("The file is not utf-8 text; save it as UTF-8.")
    return Question(
        "encoding",
        "The file is not UTF-8. As Windows-1252 its letters would be those below; say so if they "
        "are right, or save it as UTF-8.",
        text.words_in_doubt(path),
    )


def _known(found: Format) -> int:
    return len({name for name in found.columns if name})


def _with_header(blank: Format, rows: Sequence[Numbered], fields: Sequence[Field]) -> Format:
    """Return a format with the row that names the most fields as its header."""

    def read_as_header(row: Numbered) -> Format:
        header = tuple(plain_text(cell).strip().strip("\ufeff") for cell in row[1])
        while header and not header[-1]:
            header = header[:-1]
        return replace(blank, columns=places_of(header, fields), header=header, header_line=row[0])

    found = max(map(read_as_header, rows[:HEADER_WITHIN]), key=_known)
    below = [tuple(cells) for line, cells in rows if line > found.header_line]
    return replace(found, preview=tuple(below[:PREVIEW_ROWS]))


def _check_columns(found: Format, fields: Sequence[Field]) -> None:
    missing = [one.label for one in fields if one.required and one.name not in found.columns]
    if missing:
        raise BadFile(
            f"The header needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it is {(found.separator or ', ').join(found.header)[:200]!r}.",
            found.header_line,
        )
    twice = {name for name in found.columns if name and found.columns.count(name) > 1}
    if twice:
        sentence = f"The header names {', '.join(sorted(twice))} twice."
        raise BadFile(sentence, found.header_line)


def _with_marks(path: Path, found: Format, fields: Sequence[Field], choices: Choices) -> Format:
    """Return a format with its decimal mark and order of dates, by the first cells that prove them.

    All of a CSV file is read where none does. A workbook's numbers and days are of those types
    already; only its first rows are looked at, and a text further down that may mean two things is
    refused by itself.
    """
    mark, order = Proof(mark_of, choices.decimal_mark), Proof(order_of, choices.date_order)
    proofs = {"decimal": mark, "date": order}
    types = {one.name: one.type for one in fields}
    places = [
        (place, proofs[types[name]])
        for place, name in enumerate(found.columns)
        if name and types[name] in proofs
    ]
    needed = {id(proof): proof for _, proof in places}.values()
    tail = text.last_rows(path, found.encoding, found.separator) if found.sheet is None else ()
    rows = data_rows(path, found)
    if found.sheet is not None:
        rows = islice(rows, PROOF_ROWS)
    for cells in chain(tail, (cells for _, cells in rows)):
        if all(proof.answer for proof in needed):
            break
        for place, proof in places:
            if place < len(cells):
                proof.look_at(cells[place])
    questions = found.questions
    if not mark.answer and mark.doubtful:
        questions += (mark_question(mark.doubtful),)
    if not order.answer and order.doubtful:
        questions += (order_question(order.doubtful),)
    return replace(
        found,
        decimal_mark=mark.answer or ("" if found.sheet else "."),
        date_order=order.answer,
        questions=questions,
    )


def data_rows(path: Path, found: Format, told: Told = lambda *_: None) -> Iterator[Numbered]:
    """Yield (line, cells) of the rows below the header; rows with nothing in them are skipped.

    Raises: BadFile with the line where the file cannot be read any further
    """
    if found.sheet is None:
        rows = text.csv_rows(path, found.encoding, found.separator, told)
        for line, cells in rows:
            if line > found.header_line and any(cell and not cell.isspace() for cell in cells):
                yield line, cells
        return
    with Workbook(path) as book:
        sheet = next(one for one in book.sheets if one.name == found.sheet)
        yield from (
            (line, cells) for line, cells in book.rows(sheet, told) if line > found.header_line
        )


def read_rows(
    path: Path, found: Format, fields: Iterable[Field], told: Told = lambda *_: None
) -> Iterator[Row]:
    """Yield the rows of a file as values.

    told:   hears now and then how many bytes of how many are read
    Raises: BadFile, as `data_rows`
    """
    by_name = {one.name: one for one in fields}
    used = [
        (place, name, _converter(by_name[name], found), by_name[name].required)
        for place, name in enumerate(found.columns)
        if name is not None
    ]
    width, is_book = len(found.columns), found.sheet is not None
    needed = 1 + max((place for place, _, _, required in used if required), default=-1)
    for line, cells in data_rows(path, found, told):
        if len(cells) < width and (is_book or len(cells) >= needed):
            cells = [*cells, *[""] * (width - len(cells))]
        row = Row(line, {}, {}, tuple(cells))
        if len(cells) < width or any(cells[width:]):
            row.errors[""] = f"There are {len(cells)} cells instead of {width}."
            yield row
            continue
        for place, name, convert, required in used:
            cell = cells[place]
            if cell.__class__ is not str or cell[:1] == "#":
                address = f"{column_letters(place)}{line}" if is_book else ""
                if trouble := trouble_of(cell, address):
                    row.errors[name] = trouble
                    continue
            if not cell and not required:
                continue
            try:
                row.values[name] = convert(cell)
            except ValueError as error:
                row.errors[name] = str(error)
        yield row


def _own_mark(cell: str) -> str:
    """Return the decimal mark that a cell proves by itself."""
    mark = mark_of(cell.strip())
    if mark == "either":
        raise ValueError(f"{cell!r} may be read in two ways; write it as a number.")
    return mark or "."


def _converter(one: Field, found: Format) -> Callable[[str], Any]:
    if one.type == "decimal":
        return lambda cell: read_number(cell, found.decimal_mark or _own_mark(cell))
    if one.type == "date":
        return lambda cell: read_date(cell, found.date_order, since_1904=found.since_1904)
    return plain_text
