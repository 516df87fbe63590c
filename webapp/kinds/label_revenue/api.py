"""The original service's addresses and envelopes: `{"message","data"}` and `{"error"}`."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, request
from sqlalchemy import func, select

from webapp.accounts import audit, current_scope, require, restrict
from webapp.error_pages import Problem, envelope
from webapp.errors import NotFound, Unreadable
from webapp.extensions import db
from webapp.intake import BadCell
from webapp.json_wire import json_body
from webapp.kinds.label_revenue import streams, sums
from webapp.kinds.label_revenue.models import (
    Label,
    ListenerLabelMonth,
    ListenerMonth,
    TermsInForce,
)
from webapp.kinds.label_revenue.periods import months_due
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.compute import METHODS, Method
from webapp.kinds.label_revenue.report.currencies import amount_text
from webapp.kinds.label_revenue.rows import read_date, read_user_id
from webapp.kinds.label_revenue.streams import Filter
from webapp.lib.keyset import cut
from webapp.lib.months import months_between, parse_month

bp = Blueprint("label_revenue_api", __name__, url_prefix="/api/v1")
restrict(bp)

MOST_MONTHS = 240
MOST_PER_PAGE = 500


def _error(problem: Problem) -> Response:
    response = jsonify({"error": problem.detail})
    # The original knows no 422: what cannot be used is a bad request.
    response.status_code = 400 if problem.status == 422 else problem.status
    return response


# By path too, for a method that an address does not take.
envelope(bp.name, _error)
for _path in ("report", "stream", "streams", "users"):
    envelope(f"/api/v1/{_path}", _error)


def _answer(message: str, data: Any, status: int = 200) -> Response:
    response = jsonify({"message": message, "data": data})
    response.status_code = status
    return response


@bp.get("/report")
def show_report() -> Response:
    """Return what each label is owed; what has no owner is named in the headers."""
    scope = current_scope()
    method = _method(request.args.get("method"))
    sums.process_pending(scope.company_id)
    payer = payouts.payer(scope.company_id, method)
    found = [payer.month(month) for month in _months(scope.company_id)]
    currency = payouts.one_currency(found)
    labels, unowned = payouts.totals(found)
    # Written by hand so that amounts keep all digits of their currency, as in 45.60.
    members = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {amount_text(minor, currency)}"
        for name, minor in sorted(labels.items())
    )
    body = f'{{"message": "Streams Report retrieved", "data": {{{members}}}}}\n'
    response = Response(body, mimetype="application/json")
    response.headers["Report-Method"] = method
    response.headers["Report-Currency"] = currency
    response.headers["Report-Unallocated"] = amount_text(sum(unowned.values()), currency)
    if others := sorted({due.currency for _, due in payouts.foreign(found)}):
        response.headers["Report-Other-Currencies"] = ", ".join(others)
    return response


def _method(text: str | None) -> Method:
    if not text:
        return "pool"
    for method in METHODS:
        if text == method:
            return method
    raise Unreadable("method: Choose one of pool, listener.")


def _months(company_id: str) -> list[date]:
    """Return the months asked for; all that pay anything where none are named."""
    single = request.args.get("month")
    start, end = request.args.get("from"), request.args.get("to")
    if single:
        if start or end:
            raise Unreadable("month: Ask for one month, or for months from and to, not both.")
        return [_month("month", single)]
    known = months_due(company_id)
    if not start and not end:
        return known
    first = _month("from", start) if start else min(known, default=None)
    last = _month("to", end) if end else max(known, default=None)
    if first is None or last is None:
        return []
    if last < first and start and end:
        raise Unreadable("to: The last month is before the first.")
    months = months_between(first, last)
    if len(months) > MOST_MONTHS:
        raise Unreadable(f"to: Ask for at most {MOST_MONTHS} months at once.")
    return months


def _month(name: str, text: str) -> date:
    try:
        return parse_month(text)
    except ValueError as error:
        raise Unreadable(f"{name}: {error}") from None


@bp.get("/users/<user_id>")
def show_user(user_id: str) -> Response:
    """Return a listener's seconds by label, of all months or of those asked for."""
    scope = current_scope()
    if not re.fullmatch(r"[0-9]+", user_id):
        raise Unreadable("User ID Invalid")
    try:
        number = read_user_id(user_id)
    except BadCell:  # a number that nobody can have
        raise NotFound("User ID not found") from None
    sums.process_pending(scope.company_id)
    if not _is_known(scope.company_id, number):
        raise NotFound("User ID not found")
    months = [ListenerLabelMonth.month.in_(_months(scope.company_id))] if request.args else []
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
@require("admin")
def create_streams() -> Response:
    """Store one stream or a list of them, all or none."""
    scope = current_scope()
    body = _json()
    bodies = body if isinstance(body, list) else [body]
    if not 1 <= len(bodies) <= streams.MOST_AT_ONCE:
        raise Unreadable(f"Send 1 to {streams.MOST_AT_ONCE:,} streams at once.")
    stored = streams.create(scope.company_id, bodies)
    audit(scope, "stored streams", f"{len(stored)}")
    db.session.commit()
    response = _answer("Streams created", stored, 201)
    if len(stored) == 1:
        response.headers["Location"] = f"/api/v1/stream/{stored[0]['id']}"
    return response


@bp.get("/streams")
def index_streams() -> Response:
    """List streams, newest first, a page at a time."""
    scope = current_scope()
    limit = _limit()
    wanted = Filter(_date("from"), _date("to"), _user_id(), request.args.get("label") or None)
    if wanted.start and wanted.end and wanted.end < wanted.start:
        raise Unreadable("to: The last day is before the first.")
    shown, more = cut(streams.page(scope.company_id, wanted, limit, _cursor()), limit)
    response = _answer("Streams retrieved", streams.described(scope.company_id, shown))
    if more:
        last = shown[-1]
        query = request.args.to_dict() | {
            "limit": str(limit),
            "cursor": f"{last['date'].isoformat()}.{last['id']}",
        }
        response.headers["Link"] = f'</api/v1/streams?{urlencode(query)}>; rel="next"'
    return response


def _limit() -> int:
    text = request.args.get("limit", "50")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PER_PAGE):
        raise Unreadable(f"limit: Write a whole number from 1 to {MOST_PER_PAGE}.")
    return int(text)


def _date(name: str) -> date | None:
    text = request.args.get(name)
    if not text:
        return None
    try:
        return read_date(text, "ymd")
    except BadCell as bad:
        raise Unreadable(f"{name}: {bad.sentence}") from None


def _user_id() -> int | None:
    text = request.args.get("user_id")
    try:
        return read_user_id(text) if text else None
    except BadCell as bad:
        raise Unreadable(f"user_id: {bad.sentence}") from None


def _cursor() -> tuple[date, int] | None:
    text = request.args.get("cursor")
    if not text:
        return None
    day, _, number = text.partition(".")
    try:
        if not number.isascii() or not 1 <= len(number) <= 18:
            raise ValueError
        return read_date(day, "ymd"), int(number)
    except (BadCell, ValueError):
        raise Unreadable("cursor: Use the address in the Link header as it is.") from None


def _json() -> Any:
    """Return the JSON that was sent; a broken one is a 400, another type a 415."""
    return json_body()


@bp.get("/stream/<stream_id>")
@bp.get("/streams/<stream_id>")
def show_stream(stream_id: str) -> Response:
    """Return one stream."""
    scope = current_scope()
    found = streams.find(scope.company_id, stream_id)
    return _answer("Stream retrieved", streams.described(scope.company_id, [found])[0])


@bp.route("/stream/<stream_id>", methods=["PUT", "PATCH"])
@bp.route("/streams/<stream_id>", methods=["PUT", "PATCH"])
@require("admin")
def change_stream(stream_id: str) -> Response:
    """Replace a stream (PUT), or change only what is sent (PATCH)."""
    scope = current_scope()
    streams.find(scope.company_id, stream_id)
    order = streams.date_order(scope.company_id)
    fields = streams.read_fields(_json(), order, partial=request.method == "PATCH")
    changed = streams.change(scope.company_id, stream_id, fields)
    audit(scope, "changed stream", changed["id"])
    db.session.commit()
    return _answer("Stream updated", changed)


@bp.delete("/stream/<stream_id>")
@bp.delete("/streams/<stream_id>")
@require("admin")
def delete_stream(stream_id: str) -> Response:
    """Remove a stream and return what it was."""
    scope = current_scope()
    gone = streams.remove(scope.company_id, stream_id)
    audit(scope, "deleted stream", gone["id"])
    db.session.commit()
    return _answer("Stream deleted", gone)
