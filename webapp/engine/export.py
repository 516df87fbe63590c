"""Results as JSON, CSV, XLSX and PDF; the first three stream, so a large one needs little memory.

CSV is RFC 4180 in UTF-8. No text cell starts a formula: a leading = + - @, tab or carriage return
gets an apostrophe in front, which alters such a text; numbers are left as they are. Programs may
ask for a raw one, in which no text is altered.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from webapp.engine import documents
from webapp.engine.kind import Column, ReportKind, Sheet
from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams
from webapp.lib.moments import utcnow
from webapp.lib.texts import safe_text
from webapp.lib.workbooks import SHEET_ROWS, SheetWriter, is_number, new_workbook

FORMATS = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
ROWS_PER_CHUNK = 500


def sheet_named(
    kind: ReportKind, result: ReadResult, by: str | None, layout: str = "", value: str = ""
) -> Sheet:
    """Return the sheet a CSV is made of: the first one, the one named by `?by=`, or a layout."""
    if layout:
        return kind.sheet_as(result, layout, value)
    sheets = kind.sheets(result)
    if not by:
        return sheets[0]
    named = {sheet.name: sheet for sheet in sheets}
    if by not in named:
        names = ", ".join(named)
        raise InvalidParams({"by": f"This result has no such table; choose one of {names}."})
    return named[by]


def _csv_cell(value: Any, column: Column, raw: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_number(value, column):
        return str(value)
    return str(value) if raw else safe_text(str(value))


def csv_chunks(sheet: Sheet, *, bom: bool = False, raw: bool = False) -> Iterator[bytes]:
    """Yield a sheet as CSV, some hundred rows at a time.

    bom: begin with the mark by which Excel sees UTF-8
    raw: leave texts as they are, for programs that know no formulas
    """
    buffer = io.StringIO("\ufeff" if bom else "")
    buffer.seek(0, io.SEEK_END)
    writer = csv.writer(buffer, lineterminator="\r\n")
    names = [column.name for column in sheet.columns]
    writer.writerow(names if raw else map(safe_text, names))
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
        rows, comma = result.rows(table.name), ""
        while batch := list(islice(rows, ROWS_PER_CHUNK)):
            shown = (kind.json_row(table.name, row, result.head) for row in batch)
            text = ",\n".join(json.dumps(row, ensure_ascii=False) for row in shown)
            yield f"{comma}{text}".encode("utf-8", errors="replace")
            comma = ",\n"
        yield b"]"
    yield b"}\n"


def xlsx_file(
    kind: ReportKind, report: Report, result: ReadResult, *, sheet_rows: int = SHEET_ROWS
) -> IO[bytes]:
    """Return a workbook as an open temporary file: one sheet per table, and one about the report.

    sheet_rows: lines a sheet may have, the header among them; Excel has no more
    """
    file = tempfile.TemporaryFile(prefix="report-", suffix=".xlsx")  # noqa: SIM115
    about = [
        ("Report", kind.title),
        *((key.replace("_", " ").capitalize(), str(value)) for key, value in report.params.items()),
        ("Status", report.status),
        ("Finished (UTC)", f"{report.finished_at:%Y-%m-%d %H:%M:%S}" if report.finished_at else ""),
        ("Written (UTC)", f"{utcnow():%Y-%m-%d %H:%M:%S}"),
        ("Report ID", report.id),
    ]
    with new_workbook(file) as workbook:
        writer = SheetWriter(workbook, footer=kind.title)
        for sheet in kind.sheets(result):
            columns = (*sheet.columns, *sheet.beside)
            writer.table(sheet.title, columns, sheet.rows, sheet_rows)
        writer.facts("About", about)
    return file


def write(
    kind: ReportKind, report: Report, fmt: str, file: IO[bytes], by: str | None = None
) -> None:
    """Write a finished report to a binary file in one of FORMATS."""
    result = ReadResult(report)
    if fmt in {"xlsx", "pdf"}:
        whole = xlsx_file if fmt == "xlsx" else documents.pdf_file
        with whole(kind, report, result) as made:
            shutil.copyfileobj(made, file)
        return
    csv_sheet = sheet_named(kind, result, by) if fmt == "csv" else None
    file.writelines(csv_chunks(csv_sheet) if csv_sheet else json_chunks(kind, report, result))


def file_name(report: Report, fmt: str, by: str | None = None) -> str:
    """Return a download's name made of what the report is about, safe on every system."""
    words = [report.kind, report.label, by or ""]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-").lower()
    return f"{slug[:120]}.{fmt}"
