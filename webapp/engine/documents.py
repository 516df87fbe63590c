"""A result as a PDF: what it says, its figures and charts, its tables fitted to the paper."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import IO, Any

from webapp.accounts import Company, User
from webapp.engine.charts import chart_data
from webapp.engine.kind import Column, Figure, ReportKind, Table
from webapp.engine.models import Report
from webapp.engine.params import param_text
from webapp.engine.results import ReadResult
from webapp.extensions import db
from webapp.lib import pdf
from webapp.lib.moments import utcnow

# Of more bars none could be told from the next; of more columns the page is turned.
MOST_BARS = 36
MOST_UPRIGHT, MOST_ACROSS = 6, 12


def pdf_file(kind: ReportKind, report: Report, result: ReadResult) -> IO[bytes]:
    """Return a result as a document, an open temporary file."""
    company = db.session.get_one(Company, report.company_id).name
    title = f"{kind.title}: {report.label}" if report.label else kind.title
    answer = kind.answer(result)
    blocks = [pdf.paragraph(answer.sentence)] if answer.sentence else []
    blocks.append(pdf.facts(_figure(one) for one in answer.figures))
    blocks += [_bars(chart) for chart in chart_data(kind, result) if _has_bars(chart)]
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


def _has_bars(chart: Mapping[str, Any]) -> bool:
    return 1 < len(chart["labels"]) <= MOST_BARS


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
