"""The original service's addresses and envelopes: `{"message","data"}` and `{"error"}`."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, request
from pydantic import BaseModel
from sqlalchemy import func, select

from webapp.accounts import current_scope, require, restrict
from webapp.error_pages import ErrorAnswer, envelope
from webapp.errors import NotFound, Unreadable
from webapp.extensions import db
from webapp.intake import BadCell
from webapp.kinds.label_revenue import bodies, streams, sums
from webapp.kinds.label_revenue.bodies import Envelope
from webapp.kinds.label_revenue.models import Label, ListenerLabelMonth, ListenerMonth, TermsInForce
from webapp.kinds.label_revenue.payout_pages import statement
from webapp.kinds.label_revenue.periods import MOST_MONTHS, amount_text, months_due
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.balances import balance_row, balances_of
from webapp.kinds.label_revenue.rows import read_user_id
from webapp.lib.bodies import json_body
from webapp.lib.keyset import cut
from webapp.lib.months import months_between
from webapp.lib.openapi import JSON, TEXT, AnswerSpec, Describer

bp = Blueprint("label_revenue_api", __name__, url_prefix="/api/v1")
restrict(bp)

BINARY = {"type": "string", "format": "binary"}
describe = Describer("Label revenue", bodies.RevenueError, JSON, TEXT)


def _error(problem: ErrorAnswer) -> Response:
    # The original knows no 422: what cannot be used is a bad request.
    return make_response(
        {"error": problem.detail}, 400 if problem.status == 422 else problem.status
    )


# By path too, for a method that an address does not take.
envelope(bp.name, _error)
for _path in ("report", "stream", "streams", "users", "label-revenue"):
    envelope(f"/api/v1/{_path}", _error)


def _answer(message: str, data: Any, status: int = 200) -> Response:
    return make_response({"message": message, "data": data}, status)


@bp.get("/report")
@describe(query=bodies.ReportQuery, answer=Envelope[dict[str, float]], errors=(400,))
def show_report() -> Response:
    """Return what each label is owed.

    What has no owner, and the currency, is named in the headers.
    """
    scope, wanted = current_scope(), bodies.asked(bodies.ReportQuery)
    method = wanted.method
    sums.process_pending(scope.company_id)
    payer = payouts.payer(scope.company_id, method)
    found = [payer.month(month) for month in _months(scope.company_id, wanted)]
    currency = payouts.one_currency(found)
    labels, unowned = payouts.totals(found)
    # Written by hand so that amounts keep all digits of their currency, as in 45.60.
    members = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {amount_text(minor, currency)}"
        for name, minor in sorted(labels.items())
    )
    body = f'{{"message": "Streams Report retrieved", "data": {{{members}}}}}\n'
    headers = {
        "Report-Method": method,
        "Report-Currency": currency,
        "Report-Unallocated": amount_text(sum(unowned.values()), currency),
    }
    if others := sorted({due.currency for _, due in payouts.foreign(found)}):
        headers["Report-Other-Currencies"] = ", ".join(others)
    return Response(body, headers=headers, mimetype="application/json")


def _months(company_id: str, wanted: bodies.MonthsQuery) -> list[date]:
    """Return the months asked for; all that pay anything where none are named."""
    if wanted.month:
        if wanted.start or wanted.end:
            raise Unreadable("month: Ask for one month, or for months from and to, not both.")
        return [wanted.month]
    known = months_due(company_id)
    if not wanted.start and not wanted.end:
        return known
    first = wanted.start or min(known, default=None)
    last = wanted.end or max(known, default=None)
    if first is None or last is None:
        return []
    months = months_between(first, last)
    if len(months) > MOST_MONTHS:
        raise Unreadable(f"to: Ask for at most {MOST_MONTHS} months at once.")
    return months


@bp.get("/label-revenue/balances")
@describe(query=bodies.BalancesQuery, answer=Envelope[list[bodies.LabelBalance]], errors=(400,))
def show_balances() -> Response:
    """Return what each label is paid in a month, and what is carried forward.

    The newest month that pays anything where none is named.
    """
    scope, wanted = current_scope(), bodies.asked(bodies.BalancesQuery)
    payer = payouts.payer(scope.company_id, wanted.method)
    month = wanted.month or max(months_due(scope.company_id), default=None)
    found = balances_of(payer, month) if month else []
    return _answer("Balances retrieved", [balance_row(one) for one in found])


@bp.get("/label-revenue/statement")
@describe(
    query=bodies.StatementQuery,
    answer=AnswerSpec("The file.", {"application/octet-stream": BINARY}),
    errors=(400, 404),
)
def show_statement() -> Response:
    """Return a label's statement as PDF or XLSX; without a label both of every label, as a ZIP."""
    bodies.asked(bodies.StatementQuery)
    return statement()


@bp.get("/users/<user_id>")
@describe(query=bodies.MonthsQuery, answer=Envelope[bodies.UserSeconds], errors=(400, 404))
def show_user(user_id: str) -> Response:
    """Return a listener's seconds by label, of all months or of those asked for."""
    scope, asked = current_scope(), bodies.asked(bodies.MonthsQuery)
    if not re.fullmatch(r"[0-9]+", user_id):
        raise Unreadable("User ID Invalid")
    try:
        number = read_user_id(user_id)
    except BadCell:  # a number that nobody can have
        raise NotFound("User ID not found") from None
    sums.process_pending(scope.company_id)
    if not _is_known(scope.company_id, number):
        raise NotFound("User ID not found")
    months = (
        [ListenerLabelMonth.month.in_(_months(scope.company_id, asked))] if request.args else []
    )
    query = (
        select(Label.name, func.sum(ListenerLabelMonth.seconds))
        .outerjoin_from(ListenerLabelMonth, Label, Label.id == ListenerLabelMonth.label_id)
        .where(
            ListenerLabelMonth.company_id == scope.company_id,
            ListenerLabelMonth.user_id == number,
            *months,
        )
        .group_by(Label.name)
    )
    heard = [(name, int(seconds)) for name, seconds in db.session.execute(query)]
    heard.sort(key=lambda one: (-one[1], one[0] or ""))
    data = {
        "user_id": number,
        "total_seconds": sum(seconds for _, seconds in heard),
        "by_label": [{"label": name, "seconds": seconds} for name, seconds in heard],
    }
    return _answer("Found User Stream Report", data)


def _is_known(company_id: str, user_id: int) -> bool:
    """Return whether a users file told of a listener, or anything was streamed."""
    for model in (TermsInForce, ListenerMonth):
        mine = (model.company_id == company_id) & (model.user_id == user_id)
        if db.session.execute(select(model.user_id).where(mine).limit(1)).first():
            return True
    return False


@bp.post("/streams")
@describe(body=bodies.NewStreams, answer=Envelope[list[bodies.Stream]], status=201, errors=(409,))
@require("admin")
def create_streams() -> Response:
    """Store one stream or a list of them, all or none."""
    scope = current_scope()
    sent = json_body()
    given = sent if isinstance(sent, list) else [sent]
    if not 1 <= len(given) <= bodies.MOST_AT_ONCE:
        raise Unreadable(f"Send 1 to {bodies.MOST_AT_ONCE:,} streams at once.")
    stored = streams.create(scope.company_id, given, scope)
    response = _answer("Streams created", stored, 201)
    if len(stored) == 1:
        response.location = f"/api/v1/stream/{stored[0]['id']}"
    return response


@bp.get("/streams")
@describe(query=bodies.StreamsQuery, answer=Envelope[list[bodies.Stream]], errors=(400,))
def index_streams() -> Response:
    """List streams, newest first; Link: rel=next where there are more."""
    scope, wanted = current_scope(), bodies.asked(bodies.StreamsQuery)
    if wanted.start and wanted.end and wanted.end < wanted.start:
        raise Unreadable("to: The last day is before the first.")
    shown, more = cut(streams.page(scope.company_id, wanted), wanted.limit)
    response = _answer("Streams retrieved", streams.described(scope.company_id, shown))
    if more:
        last = shown[-1]
        query = request.args.to_dict() | {
            "limit": str(wanted.limit),
            "cursor": f"{last['date'].isoformat()}.{last['id']}",
        }
        response.headers["Link"] = f'</api/v1/streams?{urlencode(query)}>; rel="next"'
    return response


@bp.get("/stream/<stream_id>")
@bp.get("/streams/<stream_id>")
@describe(answer=Envelope[bodies.Stream], errors=(404,))
def show_stream(stream_id: str) -> Response:
    """Return one stream."""
    scope = current_scope()
    found = streams.find(scope.company_id, stream_id)
    return _answer("Stream retrieved", streams.described(scope.company_id, [found])[0])


@bp.put("/stream/<stream_id>")
@bp.put("/streams/<stream_id>")
@describe(body=bodies.NewStream, answer=Envelope[bodies.Stream], errors=(404, 409))
@require("admin")
def replace_stream(stream_id: str) -> Response:
    """Replace a stream."""
    return _change(stream_id, bodies.NewStream)


@bp.patch("/stream/<stream_id>")
@bp.patch("/streams/<stream_id>")
@describe(body=bodies.StreamChange, answer=Envelope[bodies.Stream], errors=(404, 409))
@require("admin")
def change_stream(stream_id: str) -> Response:
    """Change only what is sent."""
    return _change(stream_id, bodies.StreamChange)


def _change(stream_id: str, model: type[BaseModel]) -> Response:
    scope = current_scope()
    streams.find(scope.company_id, stream_id)
    given = bodies.read_stream(model, json_body(), streams.date_order(scope.company_id))
    fields = given.model_dump(exclude_unset=True)
    return _answer("Stream updated", streams.change(scope.company_id, stream_id, fields, scope))


@bp.delete("/stream/<stream_id>")
@bp.delete("/streams/<stream_id>")
@describe(answer=Envelope[bodies.Stream], errors=(403, 404, 409))
@require("admin")
def delete_stream(stream_id: str) -> Response:
    """Remove a stream and return what it was."""
    scope = current_scope()
    return _answer("Stream deleted", streams.remove(scope.company_id, stream_id, scope))
