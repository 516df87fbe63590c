"""Results as JSON, CSV and XLSX; all three stream, so that a large result needs little memory.

CSV is RFC 4180 in UTF-8. No text cell starts a formula: a leading = + - @, tab or carriage return
gets an apostrophe in front, which alters such a text; numbers are left as they are. Programs may
ask for a raw one, in which no text is altered.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any

import xlsxwriter

from webapp.engine.kind import Column, ReportKind, Sheet
from webapp.engine.models import Report
from webapp.engine.params import param_text
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams
from webapp.lib.moments import utcnow
from webapp.lib.texts import safe_text

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
ROWS_PER_CHUNK = 500
SHEET_ROWS = 1_048_576


def sheet_named(kind: ReportKind, result: ReadResult, by: str | None) -> Sheet:
    """Return the sheet a CSV is made of: the first one, or the one named by `?by=`."""
    sheets = kind.sheets(result)
    if not by:
        return sheets[0]
    for sheet in sheets:
        if sheet.name == by:
            return sheet
    names = ", ".join(sheet.name for sheet in sheets)
    raise InvalidParams({"by": f"This result has no such table; choose one of {names}."})


def _csv_cell(value: Any, column: Column, raw: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if _is_number(value, column):
        return str(value)
    return str(value) if raw else safe_text(str(value))


def _is_number(value: Any, column: Column) -> bool:
    """Say whether a cell holds a number; exact decimals are stored as text, and are numbers too."""
    return column.is_number and (
        isinstance(value, int | float | Decimal)
        or (isinstance(value, str) and NUMBER.fullmatch(value) is not None)
    )


def csv_chunks(sheet: Sheet, *, bom: bool = False, raw: bool = False) -> Iterator[bytes]:
    """Yield a sheet as CSV, some hundred rows at a time.

    bom: begin with the mark by which Excel sees UTF-8
    raw: leave texts as they are, for programs that know no formulas
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    if bom:
        buffer.write("\ufeff")
    writer.writerow([column.name for column in sheet.columns])
    for number, row in enumerate(sheet.rows, start=1):
        cells = [_csv_cell(row.get(column.name), column, raw) for column in sheet.columns]
        writer.writerow(cells)
        if number % ROWS_PER_CHUNK == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    # A lone surrogate from a partner must not end the download half way.
    return text.encode("utf-8", errors="replace")


def json_chunks(kind: ReportKind, report: Report, result: ReadResult) -> Iterator[bytes]:
    """Yield the JSON document: kind, the head's members, then each table as an array of rows."""
    head = {"kind": report.kind, **result.head}
    yield json.dumps(head, ensure_ascii=False)[:-1].encode("utf-8", errors="replace")
    for table in kind.tables(result.head):
        yield f", {json.dumps(table.name)}: [".encode()
        yield from _json_rows(kind, table.name, result)
        yield b"]"
    yield b"}\n"


def _json_rows(kind: ReportKind, table: str, result: ReadResult) -> Iterator[bytes]:
    parts: list[str] = []
    comma = ""
    for row in result.rows(table):
        shown = kind.json_row(table, row, result.head)
        parts.append(comma + json.dumps(shown, ensure_ascii=False))
        comma = ",\n"
        if len(parts) >= ROWS_PER_CHUNK:
            yield "".join(parts).encode("utf-8", errors="replace")
            parts.clear()
    yield "".join(parts).encode("utf-8", errors="replace")


def xlsx_file(
    kind: ReportKind, report: Report, result: ReadResult, *, sheet_rows: int = SHEET_ROWS
) -> IO[bytes]:
    """Return a workbook as an open temporary file: one sheet per table, and one about the report.

    sheet_rows: lines a sheet may have, the header among them; Excel has no more
    Written in constant memory. Cells are typed; IDs are text, because Excel keeps 15 digits only;
    times lose their zone, which Excel does not have, so the header names it.
    """
    file = tempfile.TemporaryFile(prefix="report-", suffix=".xlsx")  # noqa: SIM115
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd",
    }
    with xlsxwriter.Workbook(file, options) as workbook:
        formats = _formats(workbook)
        for sheet in kind.sheets(result):
            _write_sheet(workbook, formats, sheet, sheet_rows)
        _write_about(workbook, formats, kind, report)
    file.seek(0)
    return file


def _formats(workbook: Any) -> dict[str, Any]:
    return {
        "header": workbook.add_format({"bold": True, "bottom": 1, "text_wrap": True}),
        "integer": workbook.add_format({"num_format": "#,##0"}),
        **{f"decimal{places}": workbook.add_format(_digits(places)) for places in range(7)},
        "date": workbook.add_format({"num_format": "yyyy-mm-dd"}),
        "month": workbook.add_format({"num_format": "yyyy-mm"}),
        "datetime": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    }


def _digits(places: int) -> dict[str, str]:
    return {"num_format": f"#,##0.{'0' * places}".rstrip(".")}


def _write_sheet(workbook: Any, formats: dict[str, Any], sheet: Sheet, sheet_rows: int) -> None:
    page = workbook.add_worksheet(_sheet_name(sheet.title))
    page.freeze_panes(1, 0)
    for index, column in enumerate(sheet.columns):
        page.set_column(index, index, 22 if column.type in {"text", "id", "datetime"} else 14)
    for index, column in enumerate(sheet.columns):
        page.write_string(0, index, _heading(column), formats["header"])
    last = 0
    for last, row in enumerate(sheet.rows, start=1):
        if last >= sheet_rows:
            last = sheet_rows - 1
            page.write_string(last, 0, "… cut here: Excel has no more rows; take the CSV.")
            break
        for index, column in enumerate(sheet.columns):
            _write_cell(page, last, index, row.get(column.name), column, formats)
    page.autofilter(0, 0, max(last, 1), max(len(sheet.columns) - 1, 0))


def _sheet_name(title: str) -> str:
    return re.sub(r"[\[\]:*?/\\]", " ", title)[:31]


def _heading(column: Column) -> str:
    unit = "UTC" if column.type == "datetime" else column.unit
    return f"{column.label} ({unit})" if unit else column.label


def _write_cell(
    page: Any, line: int, index: int, value: Any, column: Column, formats: dict[str, Any]
) -> None:
    if value is None or value == "":
        return
    if isinstance(value, bool):
        page.write_boolean(line, index, value)
    elif _is_number(value, column):
        places = column.places if column.type == "decimal" else ""
        page.write_number(line, index, float(value), formats[f"{column.type}{places}"])
    elif (moment := _moment(value, column)) is not None:
        page.write_datetime(line, index, moment, formats[column.type])
    else:
        page.write_string(line, index, str(value)[:32_767])


def _moment(value: Any, column: Column) -> datetime | date | None:
    """Return a date or time cell's value without zone, or None where the text is none."""
    try:
        if column.type == "month":
            return datetime.fromisoformat(f"{value}-01")
        if column.type == "date":
            return date.fromisoformat(str(value))
        if column.type == "datetime":
            return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        return None
    return None


def _write_about(workbook: Any, formats: dict[str, Any], kind: ReportKind, report: Report) -> None:
    page = workbook.add_worksheet("About")
    page.set_column(0, 0, 22)
    page.set_column(1, 1, 60)
    facts: Iterable[tuple[str, str]] = [
        ("Report", kind.title),
        *(
            (key.replace("_", " ").capitalize(), param_text(value))
            for key, value in report.params.items()
        ),
        ("Status", report.status),
        ("Finished (UTC)", f"{report.finished_at:%Y-%m-%d %H:%M:%S}" if report.finished_at else ""),
        ("Written (UTC)", f"{utcnow():%Y-%m-%d %H:%M:%S}"),
        ("Report ID", report.id),
    ]
    for line, (name, value) in enumerate(facts):
        page.write_string(line, 0, name, formats["header"])
        page.write_string(line, 1, value)


def write(
    kind: ReportKind, report: Report, fmt: str, file: IO[bytes], by: str | None = None
) -> None:
    """Write a finished report to a binary file in one of FORMATS."""
    result = ReadResult(report)
    if fmt == "xlsx":
        with xlsx_file(kind, report, result) as workbook:
            while chunk := workbook.read(1 << 16):
                file.write(chunk)
        return
    chunks = (
        csv_chunks(sheet_named(kind, result, by))
        if fmt == "csv"
        else json_chunks(kind, report, result)
    )
    for chunk in chunks:
        file.write(chunk)


def file_name(report: Report, fmt: str, by: str | None = None) -> str:
    """Return a download's name made of what the report is about, safe on every system."""
    words = [report.kind, report.label, by or ""]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-").lower()
    return f"{slug[:120]}.{fmt}"
