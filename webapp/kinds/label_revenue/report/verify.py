"""Reports and statements computed again, against the hashes they carry."""

from __future__ import annotations

from webapp.engine.models import Report
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import SLUG
from webapp.kinds.label_revenue.models import IssuedStatement
from webapp.kinds.label_revenue.report.payouts import Payer
from webapp.kinds.label_revenue.report.statement import statements_of
from webapp.kinds.label_revenue.sums import process_pending
from webapp.lib.months import months_between, parse_month


def differing_months(report_id: str) -> list[str]:
    """Return the months of a report that are computed from something else now."""
    report = db.session.get(Report, report_id)
    if report is None or report.kind != SLUG:
        raise InvalidParams({"report": f"There is no label-revenue report {report_id}."})
    head = ReadResult(report).head
    if "sources" not in head:
        raise InvalidParams({"report": "It is from before reports kept what they are made of."})
    process_pending(report.company_id)
    payer = Payer(report.company_id, head["method"])
    return [
        month
        for month, source in head["sources"].items()
        if payer.month(parse_month(month)).source != source
    ]


def verify_statement(company_id: str, company: str, number: int) -> tuple[str, bool]:
    """Return the name of a statement, and whether it would say the same now."""
    kept = db.session.get(IssuedStatement, (company_id, number))
    if kept is None:
        raise InvalidParams({"report": f"{company} has no statement {number}."})
    process_pending(company_id)
    payer = Payer(company_id, kept.method)
    months = months_between(kept.first_month, kept.last_month)
    now = statements_of(payer, company, months, kept.label)
    same = [one.source_hash for one in now] == [kept.source_hash]
    return f"Statement {number} of {kept.label}", same
