"""A finished report as a download: CSV, JSON, XLSX or PDF, with an ETag and a file name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from flask import Response, request, stream_with_context

from webapp.engine import documents, export
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult


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
    """Return the result in one of `export.FORMATS`; 304 where the caller has it already.

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
    sheet = export.sheet_named(kind, result, by, layout, value) if fmt == "csv" else None
    name = sheet.name if sheet and (by or layout) else ""
    tag = "-".join((report.id, str(report.attempt), fmt, name, "bom" * bom + "raw" * raw))
    if tag in request.if_none_match:
        response = Response(status=304)
    elif fmt in {"xlsx", "pdf"}:
        whole = export.xlsx_file if fmt == "xlsx" else documents.pdf_file
        file = whole(kind, report, result)
        response = Response(file_chunks(file), mimetype=export.FORMATS[fmt])
        response.call_on_close(file.close)
    else:
        chunks = (
            export.csv_chunks(sheet, bom=bom, raw=raw)
            if sheet
            else export.json_chunks(kind, report, result)
        )
        response = Response(stream_with_context(chunks), content_type=export.FORMATS[fmt])
    if attach and response.status_code == 200:
        file_name = export.file_name(report, fmt, name)
        response.headers.set("Content-Disposition", "attachment", filename=file_name)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file, and close it at its end: who reads all of an answer need not close it."""
    with file:
        while chunk := file.read(1 << 16):
            yield chunk
