"""Results as JSON, CSV, XLSX and PDF, as files and as answers; the first three stream, so a large
one needs little memory.

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
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import IO, Any

from flask import Response, request, stream_with_context

from webapp.accounts import Company, User
from webapp.engine.charts import chart_data
from webapp.engine.kind import Column, Figure, ReportKind, Sheet, Table
from webapp.engine.models import Report
from webapp.engine.params import param_text
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib import pdf
from webapp.lib.batches import batched
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
# Of more bars none could be told from the next; of more columns the page is turned.
MOST_BARS = 36
MOST_UPRIGHT, MOST_ACROSS = 6, 12


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
        text = str(value)
        # Spreadsheets and programs in other languages take 1e-06 for a text.
        return f"{Decimal(text):f}" if "e" in text.lower() else text
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


def csv_attachment(sheet: Sheet, name: str) -> Response:
    """Return a sheet as a CSV file to save, for people."""
    chunks = stream_with_context(csv_chunks(sheet, bom=True))
    response = Response(chunks, content_type=FORMATS["csv"])
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


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
        comma = ""
        for batch in batched(result.rows(table.name), ROWS_PER_CHUNK):
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
        chunks = file_chunks(_whole_file(kind, report, result, fmt))
    elif fmt == "csv":
        chunks = csv_chunks(sheet_named(kind, result, by))
    else:
        chunks = json_chunks(kind, report, result)
    file.writelines(chunks)


def _whole_file(kind: ReportKind, report: Report, result: ReadResult, fmt: str) -> IO[bytes]:
    return (xlsx_file if fmt == "xlsx" else pdf_file)(kind, report, result)


def file_name(report: Report, fmt: str, by: str | None = None) -> str:
    """Return a download's name made of what the report is about, safe on every system."""
    words = [report.kind, report.label, by or ""]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", " ".join(words)).strip("-").lower()
    return f"{slug[:120]}.{fmt}"


def result_response(
    report: Report,
    fmt: str,
    *,
    by: str | None = None,
    layout: str = "",
    value: str = "",
    bom: bool = False,
    raw: bool = False,
    attach: bool = True,
) -> Response:
    """Return the result in one of FORMATS, with an ETag; 304 where the caller has it already.

    by:     the sheet of a CSV, the first one where none is named
    layout: another layout of the CSV and the value it shows, see ReportKind.sheet_as
    bom:    begin a CSV with the mark by which Excel knows UTF-8
    raw:    leave the texts of a CSV as they are, also those that a spreadsheet takes for formulas
    attach: offer it as a file to save, rather than to look at
    Raises: Conflict while there is no result, InvalidParams for an unknown sheet
    """
    kind = kinds()[report.kind]
    result = ReadResult(report)
    # What the caller wrote is checked before it becomes a part of a header.
    sheet = sheet_named(kind, result, by, layout, value) if fmt == "csv" else None
    name = sheet.name if sheet and (by or layout) else ""
    tag = "-".join((report.id, str(report.attempt), fmt, name, "bom" * bom + "raw" * raw))
    if tag in request.if_none_match:
        response = Response(status=304)
    elif fmt in {"xlsx", "pdf"}:
        file = _whole_file(kind, report, result, fmt)
        response = Response(file_chunks(file), mimetype=FORMATS[fmt])
        response.call_on_close(file.close)
    else:
        chunks = csv_chunks(sheet, bom=bom, raw=raw) if sheet else json_chunks(kind, report, result)
        response = Response(stream_with_context(chunks), content_type=FORMATS[fmt])
    if attach and response.status_code == 200:
        called = file_name(report, fmt, name)
        response.headers.set("Content-Disposition", "attachment", filename=called)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file, and close it at its end: who reads all of an answer need not close it."""
    with file:
        while chunk := file.read(1 << 16):
            yield chunk


def pdf_file(kind: ReportKind, report: Report, result: ReadResult) -> IO[bytes]:
    """Return a result as a document, an open temporary file."""
    company = db.session.get_one(Company, report.company_id).name
    title = f"{kind.title}: {report.label}" if report.label else kind.title
    answer = kind.answer(result)
    blocks = [pdf.paragraph(answer.sentence)] if answer.sentence else []
    blocks.append(pdf.facts(_figure(one) for one in answer.figures))
    charts = chart_data(kind, result)
    blocks += [_bars(chart) for chart in charts if 1 < len(chart["labels"]) <= MOST_BARS]
    tables = {table: columns_of(table) for table in kind.tables(result.head)}
    for table, columns in tables.items():
        rows = [kind.grid_row(table.name, row, result.head) for row in result.rows(table.name)]
        total = kind.total_row(table.name, result)
        if total:
            named = table.head_column
            rows = [row for row in rows if not table.total or row[named] != table.total]
            rows.append(total)
        if rows:
            shown = [row | {table.remark: row.get(table.remark)} for row in rows]
            bold = [str(total[table.head_column])] if total else []
            blocks.append(pdf.table(table.title, columns, shown, bold=bold))
    blocks.append(pdf.facts(_about(report, company), "About this report"))
    file = tempfile.TemporaryFile(prefix="report-", suffix=".pdf")  # noqa: SIM115
    pdf.write_pdf(
        file,
        title,
        blocks,
        author=company,
        subject=kind.description,
        footer=f"{title} · {company}",
        landscape=max(map(len, tables.values())) > MOST_UPRIGHT,
        made_at=report.finished_at,
    )
    file.seek(0)
    return file


def columns_of(table: Table) -> list[Column]:
    """Return the columns a document has of a table, the one that names a row first."""
    columns = sorted(table.columns, key=lambda one: one.name != table.head_column)
    if len(columns) > MOST_UPRIGHT:
        columns = [one for one in columns if not one.is_detail]
    return columns[:MOST_ACROSS]


def _figure(figure: Figure) -> tuple[str, str]:
    text = pdf.shown(figure.value, Column("", "", figure.type))
    return figure.label, f"{text} ({figure.note})" if figure.note else text


def _bars(chart: Mapping[str, Any]) -> pdf.Block:
    view = chart["views"][0]
    values = view["series"][0]["values"]
    whole = all(isinstance(value, int | None) for value in values)
    column = Column(view["name"], view["label"], "integer" if whole else "decimal", view["unit"])
    bars = [(label, [value]) for label, value in zip(chart["labels"], values, strict=True)]
    return pdf.chart(view["heading"], column, bars)


def _about(report: Report, company: str) -> list[tuple[str, str]]:
    asked = [
        (name.replace("_", " ").capitalize(), str(param_text(value)))
        for name, value in report.params.items()
        if value not in (None, "", False)
    ]
    made = f"{report.finished_at:%Y-%m-%d %H:%M} UTC" if report.finished_at else ""
    by = db.session.get(User, report.requested_by)
    return [
        ("Company", company),
        *asked,
        ("Status", report.status),
        ("Asked by", by.shown_email if by else ""),
        ("Finished", made),
        ("Written", f"{utcnow():%Y-%m-%d %H:%M} UTC"),
        ("Report ID", report.id),
    ]
