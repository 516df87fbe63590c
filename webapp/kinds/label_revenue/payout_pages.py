"""`/label-revenue`: what months pay: methods compared, balances, minimum payouts, statements."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Blueprint, Response, flash, make_response, render_template, request
from sqlalchemy import true

from webapp.accounts import current_scope, require, restrict
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.kinds.label_revenue.ledger import open_calculated, unit_of_work
from webapp.kinds.label_revenue.models import MinimumPayout
from webapp.kinds.label_revenue.periods import MOST_MONTHS, amount_text, months_due, read_amount
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.balances import (
    Balance,
    balance_row,
    balances_of,
    minimums,
    totals_of,
)
from webapp.kinds.label_revenue.report.compute import METHODS, Key, Method, in_order
from webapp.kinds.label_revenue.report.payouts import MonthPayout
from webapp.kinds.label_revenue.report.statement import (
    issue,
    statement_bytes,
    statements_of,
    zip_chunks,
)
from webapp.lib.bodies import LAST_BEFORE_FIRST, MonthSpan, read_query
from webapp.lib.months import month_text, months_between
from webapp.lib.pdf import Paper

bp = Blueprint(
    "label_revenue_payouts", __name__, url_prefix="/label-revenue", template_folder="templates"
)
restrict(bp)
TOTAL = Key(False, "Total")
STATEMENT_TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@bp.get("/compare")
def compare() -> Response:
    """Show both methods side by side."""
    scope, errors, currency = current_scope(), dict[str, str](), ""
    months: list[date] = []
    found: dict[Method, list[MonthPayout]] = {method: [] for method in METHODS}
    try:
        months = _asked_months(scope.company_id)
        paid = {one: payouts.payer(scope.company_id, one) for one in METHODS}
        all_paid = {one: [payer.month(month) for month in months] for one, payer in paid.items()}
        currency, found = payouts.one_currency(all_paid["pool"]), all_paid
    except InvalidParams as error:
        errors = error.errors
    page = render_template(
        "label_revenue/compare.html",
        scope=scope,
        rows=compared(found, currency),
        foreign=[
            (method, month_text(month), due)
            for method in METHODS
            for month, due in payouts.foreign(found[method])
        ],
        start=month_text(months[0]) if months else "",
        end=month_text(months[-1]) if months else "",
        currency=currency,
        errors=errors,
        typed=request.args,
    )
    return make_response(page, 422 if errors else 200)


def _asked_months(company_id: str) -> list[date]:
    """Return the months asked for, the newest one that pays anything where none are.

    Raises: InvalidParams
    """
    span = read_query(MonthSpan)
    first = span.start or max(months_due(company_id), default=None)
    last = span.end or first
    if first is None or last is None:
        return []
    if last < first:
        raise InvalidParams({"to": LAST_BEFORE_FIRST})
    if len(months_between(first, last)) > MOST_MONTHS:
        raise InvalidParams({"to": f"Ask for at most {MOST_MONTHS} months at once."})
    return months_between(first, last)


def compared(found: dict[Method, list[MonthPayout]], currency: str) -> list[dict[str, Any]]:
    """Return a row for each label and each reason without one: both amounts and what differs."""
    minor: dict[Key, dict[str, int]] = {}
    for method, months in found.items():
        for one in months:
            for key, owed in one.owed():
                row = minor.setdefault(key, {"pool": 0, "listener": 0})
                row[method] += owed
    keys = sorted(minor, key=in_order)
    if minor:
        whole = {str(method): sum(row[method] for row in minor.values()) for method in METHODS}
        minor[TOTAL] = whole
        keys.append(TOTAL)
    return [
        {
            "name": key.name,
            "owned": key.owned,
            "pool": amount_text(minor[key]["pool"], currency),
            "listener": amount_text(minor[key]["listener"], currency),
            "difference": amount_text(minor[key]["listener"] - minor[key]["pool"], currency),
            "is_total": key is TOTAL,
        }
        for key in keys
    ]


@bp.get("/statement")
def statement() -> Response:
    """Return a label's statement as PDF or workbook; without a label both of all, as a ZIP."""
    scope, label = current_scope(), request.args.get("label")
    ending = request.args.get("format", "xlsx")
    paper: Paper = "us-letter" if request.args.get("paper") == "letter" else "a4"
    months = _asked_months(scope.company_id)
    if ending not in STATEMENT_TYPES:
        raise InvalidParams({"format": "Choose pdf or xlsx."})
    payer = payouts.payer(scope.company_id, _method())
    found = statements_of(payer, scope.company_name, months, label)
    if not found:
        raise NotFound("This label has no streams in these months.")
    found = issue(scope.company_id, found, scope)
    name, ending = found[0].file_name, ending if label else "zip"
    if not label:
        name = f"statements-{found[0].period}-{payer.method}".replace(" ", "-")
        response = Response(zip_chunks(found, paper), mimetype="application/zip")
    else:
        data = statement_bytes(found[0], ending, paper)
        response = Response(data, mimetype=STATEMENT_TYPES[ending])
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.{ending}")
    return response


@bp.get("/balances")
def balances() -> Response:
    """Show what each label is paid in a month, and what is carried forward."""
    return _balances_page({})


def _balances_page(errors: dict[str, str]) -> Response:
    scope, found, payout = current_scope(), list[Balance](), None
    months: list[date] = []
    try:
        if months := _asked_months(scope.company_id):
            payer = payouts.payer(scope.company_id, _method())
            found, payout = balances_of(payer, months[-1]), payer.month(months[-1])
    except InvalidParams as error:
        errors = error.errors | errors
    page = render_template(
        "label_revenue/balances.html",
        scope=scope,
        month=month_text(months[-1]) if months else "",
        method=_method(),
        rows=[balance_row(one) for one in found],
        totals=[balance_row(one) for one in totals_of(found).values()],
        pool=_pool_sentence(payout) if payout else "",
        minimums=sorted(minimums(scope.company_id).items()),
        errors=errors,
        typed=request.values,
    )
    return make_response(page, 422 if errors else 200)


def _method() -> Method:
    return "listener" if request.values.get("method") == "listener" else "pool"


def _pool_sentence(one: MonthPayout) -> str:
    """Return how what labels earned and what has no owner add up to the month's pool."""
    earned = sum(line.minor for line in one.payout.lines if line.key.owned)
    rest = one.payout.pool_minor - earned
    texts = [amount_text(minor, one.currency) for minor in (earned, rest, one.payout.pool_minor)]
    return f"Earned {texts[0]}, without an owner {texts[1]}: the pool of {texts[2]} {one.currency}."


@bp.post("/minimums")
@require("admin")
def save_minimum() -> Response:
    """Set from which amount on labels, or one label, are paid."""
    scope, typed = current_scope(), request.form
    label = " ".join(typed.get("label", "").split())[:300]
    minimum = read_amount(typed.get("amount", ""), most=10**12, longest=20)
    if minimum is None:
        return _balances_page({"amount": "Write an amount, for example 50 or 50.00."})
    amount = f"{minimum:f}"
    with unit_of_work(scope.company_id, scope) as work:
        before = minimums(scope.company_id).get(label, "0")
        row = MinimumPayout(
            company_id=scope.company_id, label=label, amount=amount, created_by=scope.user_id
        )
        db.session.add(row)
        whose = label or "all labels"
        work.record("set minimum payout", f"label-revenue {whose}: {before} before, now {amount}")
        # What was approved says what is paid.
        open_calculated(work, true())
    flash(f"{label or 'Every label'} is paid from {amount} on.")
    return redirect_to("/label-revenue/balances")
