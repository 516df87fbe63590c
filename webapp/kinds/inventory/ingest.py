"""Uploaded files as lines: CSV and XLSX, read a line at a time, headers matched by their words."""

from __future__ import annotations

import csv
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import IO, Any
from xml.etree.ElementTree import ParseError

from webapp.errors import InvalidParams
from webapp.kinds.inventory.bodies import EntryIn, snake

FIELDS = tuple(EntryIn.model_fields)
NEEDED = tuple(name for name, field in EntryIn.model_fields.items() if field.is_required())
# How people call the columns, beside the fields' own names.
OTHER_WORDS = {
    "entry_id": "id",
    "period": "period_id",
    "reporting_period": "period_id",
    "reporting_period_id": "period_id",
    "unit": "unit_id",
    "organizational_unit": "unit_id",
    "organization_unit_id": "unit_id",
    "organizational_unit_id": "unit_id",
    "factor": "emission_factor",
    "source": "factor_source",
    "source_of_the_factor": "factor_source",
    "start": "start_date",
    "end": "end_date",
}
# Told by us and ignored when they come back.
IGNORED = frozenset({"emissions", ""})
# A workbook is compressed: this much may come out of it.
MOST_XLSX_BYTES = 300 * 1024 * 1024
MOST_LINES = 500_000
# As many as Excel has; a damaged file may name a row far below, and all above it would be walked.
MOST_ROWS = 1_048_576
# A ZIP with XML in it, damaged anywhere or no workbook at all, comes out of the library as almost
# anything; these were seen, or follow from what it does with sizes, positions and attributes.
FAULTS_OF_A_WORKBOOK = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ParseError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

Line = tuple[int, dict[str, Any]]


def read_lines(content: IO[bytes], name: str) -> Iterator[Line]:
    """Yield line numbers, as an editor counts them, with values by field.

    Raises: InvalidParams for `file` when it cannot be read or a column is missing
    """
    if content.read(4) == b"PK\x03\x04":
        content.seek(0)
        return _limited(_xlsx_lines(content))
    content.seek(0)
    if name.lower().endswith((".xlsx", ".xls", ".xlsm", ".ods")):
        raise _unreadable("This is not a workbook. Save it as XLSX or as CSV UTF-8.")
    return _limited(_csv_lines(content))


def _unreadable(sentence: str) -> InvalidParams:
    return InvalidParams({"file": sentence})


def _limited(lines: Iterator[Line]) -> Iterator[Line]:
    for count, line in enumerate(lines, start=1):
        if count > MOST_LINES:
            raise _unreadable(f"A file may have {MOST_LINES:,} lines; send several.")
        yield line


def _csv_lines(content: IO[bytes]) -> Iterator[Line]:
    text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
    try:
        first = text.readline(65_536)
        delimiter = max(",;\t", key=first.count)
        text.seek(0)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(reader, [])
        names = _names(header)
        before = reader.line_num
        for values in reader:
            number, before = before + 1, reader.line_num
            if any(value.strip() for value in values):
                yield number, _by_name(names, values)
    except UnicodeDecodeError:
        raise _unreadable("The file is not UTF-8. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise _unreadable(f"The file is not CSV: {error}.") from None
    finally:
        # Whoever stops reading half way may have closed the file already.
        if not content.closed:
            text.detach()


def _xlsx_lines(content: IO[bytes]) -> Iterator[Line]:
    rows = _xlsx_rows(content)
    names = _names([str(value or "") for value in next(rows, ())])
    for number, values in enumerate(rows, start=2):
        if number > MOST_ROWS:
            raise _unreadable(f"A sheet may have {MOST_ROWS:,} rows.")
        if any(value not in (None, "") for value in values):
            yield number, _by_name(names, [_cell(value) for value in values])


def _xlsx_rows(content: IO[bytes]) -> Iterator[tuple[Any, ...]]:
    # Imported where it is needed: few processes ever read a workbook.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(content) as archive:
            size_bytes = sum(part.file_size for part in archive.infolist())
        if size_bytes > MOST_XLSX_BYTES:
            raise _unreadable("The workbook is too large; send it as CSV.")
        content.seek(0)
        book = load_workbook(content, read_only=True, data_only=True, keep_links=False)
        with closing(book):
            if not book.worksheets:
                raise _unreadable("The workbook has no sheet.")
            sheet = book.worksheets[0]
            # What a sheet says of its own size is often wrong; only its cells are believed.
            sheet.reset_dimensions()
            yield from sheet.iter_rows(values_only=True)
    except (*FAULTS_OF_A_WORKBOOK, InvalidFileException):
        raise _unreadable(
            "The workbook cannot be read. Save it as XLSX again, without a password."
        ) from None


def _cell(value: Any) -> Any:
    # Excel keeps 15 digits; what a binary fraction adds behind them was never typed.
    return format(value, ".15g") if isinstance(value, float) else value


def _names(header: Iterable[str]) -> list[str]:
    names = [
        OTHER_WORDS.get(snake(word.split("(")[0]), snake(word.split("(")[0])) for word in header
    ]
    unknown = [name for name in names if name not in FIELDS and name not in IGNORED]
    if missing := [name for name in NEEDED if name not in names]:
        raise _unreadable(f"The first line must name the columns; missing: {', '.join(missing)}.")
    if unknown:
        raise _unreadable(f"There is no such column: {', '.join(unknown)[:300]}.")
    if twice := {name for name in names if name in FIELDS and names.count(name) > 1}:
        raise _unreadable(f"A column stands there twice: {', '.join(sorted(twice))}.")
    return names


def _by_name(names: list[str], values: list[Any]) -> dict[str, Any]:
    pairs = zip(names, values, strict=False)
    found = {
        name: value for name, value in pairs if name in FIELDS and value is not None and value != ""
    }
    if len(values) > len(names) and any(value not in (None, "") for value in values[len(names) :]):
        # Kept under a name no field has, so that the line is refused rather than cut.
        found["more_values_than_columns"] = values[len(names)]
    return found
