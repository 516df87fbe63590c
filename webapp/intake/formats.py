"""How a file is written, found out and never guessed.

`detect` answers with a `Format`: encoding, separator or sheet, the line of the header and which
field each column is, decimal mark and order of dates. What the file cannot tell is a `Question` in
it, which somebody has to answer with `Choices` before the file is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from webapp.intake import text
from webapp.intake.cells import (
    DateOrder,
    EmptyFormula,
    ErrorCell,
    Proof,
    Question,
    mark_of,
    order_of,
    plain_text,
    question,
    trouble_of,
)
from webapp.intake.columns import Field, column_letters, guess_columns, places_of
from webapp.intake.rows import Format, Numbered, data_rows
from webapp.intake.text import BadFile
from webapp.intake.workbook import Workbook, is_workbook

# A header stands within so many rows; titles, dates and notes may stand above it.
HEADER_WITHIN = 30
PREVIEW_ROWS = 5
PROOF_ROWS = 2_000
GUESSED_BY_ROWS = 50
LONGEST_HEADING = 200


@dataclass(frozen=True)
class Choices:
    """What a person says of a file; None where it is for the program to find out.

    sheet:   of a workbook, by name
    columns: the place of fields in the file, None for a field that has none there
    values:  what a field is in every row; notes: places of columns to be kept as notes
    """

    encoding: str | None = None
    separator: str | None = None
    decimal_mark: str | None = None
    date_order: DateOrder | None = None
    sheet: str | None = None
    columns: Mapping[str, int | None] | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[int] = ()


def detect(
    path: Path,
    fields: Sequence[Field],
    choices: Choices = Choices(),
    *,
    may_ask: bool = False,
) -> Format:
    """Return how a file is written; what a person says goes before what is seen.

    may_ask: what columns are missing is a question, not an error
    Raises:  BadFile with the sentence of what is missing
    """
    found = (_book_format if is_workbook(path) else _text_format)(path, fields, choices)
    _check_headings(found)
    columns, takes_notes = list(found.columns), any(one.takes_notes for one in fields)
    for name, place in (choices.columns or {}).items():
        columns = [None if one == name else one for one in columns]
        if place is not None and place < len(columns):
            columns[place] = name
    found = replace(
        found,
        columns=tuple(columns),
        values={name: value for name, value in choices.values.items() if name not in columns},
        notes=tuple(place for place in choices.notes if takes_notes and place < len(columns)),
    )
    if sentence := _columns_missing(found, fields):
        if not may_ask:
            raise BadFile(sentence, found.header_line)
        if choices.columns is None:
            found, sentence = _guessed(path, found, fields)
        asked = (*found.questions, Question("columns", sentence))
        # Which cells prove a decimal mark is not known yet.
        return replace(found, decimal_mark="", questions=asked)
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
        if not text.is_text(path, text.WESTERN):
            raise BadFile("The file is not utf-8 text; save it as UTF-8.")
        sentence = (
            "The file is not UTF-8. As Windows-1252 its letters would be those below; say so if "
            "they are right, or save it as UTF-8."
        )
        encoding = text.WESTERN
        questions = (Question("encoding", sentence, text.words_in_doubt(path)),)
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


def _known(found: Format) -> tuple[int, int]:
    """Return how well a header fits: fields it names, then headings it has.

    A number is no heading: a row of data may hold a field's name, such as the category `Gas`.
    """
    numbers = sum(bool(re.fullmatch(r"[\d\W]+", one)) for one in found.header)
    named = len({name for name in found.columns if name})
    return named - numbers, sum(map(bool, found.header)) - numbers


def _with_header(blank: Format, rows: Sequence[Numbered], fields: Sequence[Field]) -> Format:
    """Return a format with the row that names the most fields as its header."""

    def read_as_header(row: Numbered) -> Format:
        header = tuple(map(_heading_of, row[1]))
        while header and not header[-1] and not isinstance(header[-1], EmptyFormula):
            header = header[:-1]
        return replace(blank, columns=places_of(header, fields), header=header, header_line=row[0])

    found = max(map(read_as_header, rows[:HEADER_WITHIN]), key=_known)
    below = [tuple(cells) for line, cells in rows if line > found.header_line]
    return replace(found, preview=tuple(below[:PREVIEW_ROWS]))


def _heading_of(cell: str) -> str:
    if isinstance(cell, ErrorCell | EmptyFormula):
        return cell
    return plain_text(cell).strip().strip("\ufeff")[:LONGEST_HEADING]


def _check_headings(found: Format) -> None:
    for place, heading in enumerate(found.header):
        address = f"{column_letters(place)}{found.header_line}" if found.sheet else ""
        if trouble := trouble_of(heading, address):
            raise BadFile(f"The header cannot be read: {trouble}", found.header_line)


def _columns_missing(found: Format, fields: Sequence[Field]) -> str:
    """Return the sentence about columns that are missing or named twice, or an empty one."""
    there = {*found.columns, *found.values}
    missing = [
        one.label for one in fields if one.required and not one.made and one.name not in there
    ]
    twice = {name for name in found.columns if name and found.columns.count(name) > 1}
    if missing:
        return (
            f"The header needs the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it is {(found.separator or ', ').join(found.header)[:200]!r}."
        )
    if twice:
        names = ", ".join(sorted(twice))
        return f"The header names {names} twice; choose one of these columns, or rename one."
    return ""


def _guessed(path: Path, found: Format, fields: Sequence[Field]) -> tuple[Format, str]:
    """Return a format with columns filled in by what stands below, and what is to be asked."""
    rows = [cells for _, cells in islice(data_rows(path, found), GUESSED_BY_ROWS)]
    guessed = replace(found, columns=guess_columns(found.columns, rows, fields))
    labels = {one.name: one.label for one in fields}
    told = ", ".join(
        f"{labels[name]} from “{found.header[place]}”"
        for place, name in enumerate(guessed.columns)
        if name and name != found.columns[place]
    )
    sentence = _columns_missing(guessed, fields)
    if told:
        sentence = f"Guessed from the cells below: {told}; confirm this below. {sentence}"
    return replace(guessed, guessed=bool(told)), sentence.strip()


def _with_marks(path: Path, found: Format, fields: Sequence[Field], choices: Choices) -> Format:
    """Return a format with its decimal mark and order of dates, by the first cells that prove them.

    All of a CSV file is read where none does. A workbook's numbers and days are of those types
    already; only its first rows are looked at, and a text further down that may mean two things is
    refused by itself.
    """
    mark, order = Proof(mark_of, choices.decimal_mark), Proof(order_of, choices.date_order)
    proofs = {"decimal": mark, "date": order, "day": order}
    types = {one.name: one.type for one in fields}
    places = [
        (place, proofs[types[name]])
        for place, name in enumerate(found.columns)
        if name and types[name] in proofs
    ]
    tail = text.last_rows(path, found.encoding, found.separator) if found.sheet is None else ()
    rows = data_rows(path, found)
    if found.sheet is not None:
        rows = islice(rows, PROOF_ROWS)
    for cells in chain(tail, (cells for _, cells in rows)):
        if all(proof.answer for _, proof in places):
            break
        for place, proof in places:
            if place < len(cells):
                proof.look_at(cells[place])
    open_still = [
        question(name, proof.doubtful)
        for name, proof in (("decimal_mark", mark), ("date_order", order))
        if proof.doubtful and not proof.answer
    ]
    return replace(
        found,
        decimal_mark=mark.answer or ("" if found.sheet else "."),
        date_order=order.answer,
        questions=(*found.questions, *open_still),
    )
