"""`/label-revenue`: months and locks, loads, settings of periods, methods compared, statements."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, make_response, render_template, request
from sqlalchemy import String, cast, or_, select

from webapp.accounts import Scope, current_scope, require, restrict
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.intake import BadCell
from webapp.kinds.label_revenue import closing, loads, quality, sums
from webapp.kinds.label_revenue.closing import month_needs, terms_source
from webapp.kinds.label_revenue.ledger import (
    BEGINNING,
    END,
    accounting_period,
    batches,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import (
    Batch,
    Label,
    LabelInForce,
    MonthSettings,
    TermsInForce,
)
from webapp.kinds.label_revenue.periods import (
    CURRENCIES,
    DEFAULT_CURRENCY,
    DEFAULT_SHARES,
    all_settings,
    events_of,
    locked_periods,
    months_due,
    read_amount,
    settings_for,
    states_of,
)
from webapp.kinds.label_revenue.rows import read_user_id
from webapp.lib.keyset import cut, one_page
from webapp.lib.months import current_month, month_text, next_month, parse_month
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import made_storable

PER_PAGE = 100
bp = Blueprint("label_revenue", __name__, url_prefix="/label-revenue", template_folder="templates")
restrict(bp)


@bp.get("")
def index() -> Response:
    """Show the months with their locks, and the batches that were loaded."""
    return _overview({}, {})


def _overview(errors: dict[str, str], typed: dict[str, str]) -> Response:
    scope = current_scope()
    sums.process_pending(scope.company_id)
    quality.check_sent(scope.company_id)
    locked = {one.month: one for one in locked_periods(scope.company_id)}
    states = states_of(scope.company_id)
    page = render_template(
        "label_revenue/index.html",
        scope=scope,
        months=shown_list(
            [
                {
                    "month": month_text(month),
                    "state": states.get(month, "open"),
                    "changed": month in locked and locked[month].changed,
                }
                for month in reversed(months_due(scope.company_id))
            ],
            lambda one: f"{one['month']} {one['state']}{' changed' if one['changed'] else ''}",
            "months",
        ),
        settings_of=lambda month: settings_for(scope.company_id, parse_month(month)),
        batches=shown_list(
            batches(scope.company_id),
            lambda one: f"{one.created_at:%Y-%m-%d} {one.id} {_file_names(one)}",
            "loads",
        ),
        file_names=_file_names,
        periods=shown_list(
            all_settings(scope.company_id),
            lambda one: f"{one.from_month:%Y-%m} {_settings_text(one.shares, one.currency)}",
            "settings",
        ),
        settings_text=_settings_text,
        defaults={"shares": DEFAULT_SHARES, "currency": DEFAULT_CURRENCY},
        errors=errors,
        typed=typed,
    )
    return make_response(page, 422 if errors else 200)


def _file_names(batch: Batch) -> str:
    return ", ".join(file.get("name") or "sent by programs" for file in batch.files.values())


@bp.post("/months/<month>/<any(calculated, approved, locked, paid):state>")
@require("admin")
def advance_month(month: str, state: str) -> Response:
    """Take a closed month one step on: calculated, approved, locked, paid."""
    scope = current_scope()
    try:
        closing.advance(scope.company_id, _month_of(month), state, scope)
    except Conflict as refused:
        flash(refused.message)
    else:
        later = " A later change in it is paid as an adjustment of the next month."
        flash(f"{month} is {state}.{later if state == 'locked' else ''}")
    return redirect_to(f"/label-revenue/months/{month}")


@bp.post("/months/<month>/back")
@require("admin")
def take_month_back(month: str) -> Response:
    """Take a month one step back, with a reason."""
    scope, reason = current_scope(), request.form.get("reason", "")
    try:
        state = closing.step_back(scope.company_id, _month_of(month), reason, scope)
    except Conflict as refused:
        flash(refused.message)
    except InvalidParams as error:
        return _month_page(_month_of(month), error.errors)
    else:
        flash(f"{month} is {state} again.")
    return redirect_to(f"/label-revenue/months/{month}")


@bp.get("/months/<month>")
def show_month(month: str) -> Response:
    """Show a month: its state, what it still needs, and what happened to it."""
    return _month_page(_month_of(month), {})


def _month_page(month: date, errors: dict[str, str]) -> Response:
    scope = current_scope()
    sums.process_pending(scope.company_id)
    period = accounting_period(scope.company_id, month)
    if period is None and month not in months_due(scope.company_id):
        raise NotFound("There is nothing in this month.")
    state = period.state if period else "open"
    try:
        listener = read_user_id(request.args.get("listener", ""))
        source = terms_source(scope.company_id, listener, month)
    except BadCell:
        source = None
    page = render_template(
        "label_revenue/month.html",
        scope=scope,
        month=month_text(month),
        state=state,
        next_state=closing.state_after(state) if month < current_month() else None,
        changed=bool(period and period.locked_at and period.changed),
        events=events_of(scope.company_id, month),
        settings=settings_for(scope.company_id, month),
        needs=month_needs(scope.company_id, month),
        listener=request.args.get("listener", ""),
        source=source,
        errors=errors,
    )
    return make_response(page, 422 if errors else 200)


def _month_of(text: str) -> date:
    try:
        return parse_month(text)
    except ValueError:
        raise NotFound("There is no such month.") from None


@bp.get("/<any(listeners, tracks):which>")
def index_loaded(which: str) -> str:
    """List what the files say of each listener or track, and in which months it holds."""
    words, after, month = (
        made_storable(request.args.get(name, "").strip())[:300] for name in ("q", "after", "month")
    )
    key: Any = TermsInForce.user_id
    query: Any = select(TermsInForce).where(~TermsInForce.early)
    texts: list[Any] = [cast(key, String), TermsInForce.product_type, TermsInForce.origin]
    if which == "tracks":
        key, texts = LabelInForce.track_id, [LabelInForce.track_id, Label.name]
        query = select(LabelInForce, Label.name).outerjoin(Label, Label.id == LabelInForce.label_id)
    table = key.class_
    query = query.where(table.company_id == current_scope().company_id)
    if words:
        query = query.where(or_(*(text.icontains(words, autoescape=True) for text in texts)))
    try:
        last: Any = read_user_id(after) if after and which == "listeners" else after
        place = (last, parse_month(month)) if after else None
    except (BadCell, ValueError):
        place = None
    found = db.session.execute(one_page(query, (key, table.from_month), place, PER_PAGE)).all()
    rows, more = cut(found, PER_PAGE)
    return render_template(
        "label_revenue/loaded.html",
        which=which,
        rows=rows,
        more=more,
        words=words,
        is_first=place is None,
        bounds=(BEGINNING, END),
        last_before=lambda month: month_text(next_month(month, -1)),
    )


@bp.post("/batches/<uuid:batch_id>/undo")
@require("admin")
def undo_batch(batch_id: UUID) -> Response:
    """Undo a load."""
    scope = current_scope()
    batch = loads.unload(scope.company_id, str(batch_id), scope)
    flash(f"The load of {batch.streams:,} streams is undone.")
    return redirect_to("/label-revenue")


@bp.post("/periods")
@require("admin")
def save_period() -> Response:
    """Set shares and currency from a month on."""
    scope = current_scope()
    typed = request.form.to_dict()
    try:
        month, shares, currency = _read_settings(typed)
        _keep_settings(scope, month, shares, currency)
    except InvalidParams as error:
        return _overview(error.errors, typed)
    flash(f"From {month_text(month)} on, these shares and {currency} apply.")
    return redirect_to("/label-revenue")


def _read_settings(typed: dict[str, str]) -> tuple[date, dict[str, str], str]:
    errors: dict[str, str] = {}
    month = BEGINNING
    try:
        month = parse_month(typed.get("from_month", ""))
    except ValueError as error:
        errors["from_month"] = str(error)
    shares = {}
    for origin in DEFAULT_SHARES:
        text = typed.get(f"share_{origin}", "")
        shares[origin] = text.strip().replace(",", ".")
        if read_amount(text, most=1, longest=12) is None:
            errors[f"share_{origin}"] = "Write a share from 0 to 1, for example 0.70."
    currency = typed.get("currency", "").strip().upper()
    if currency not in CURRENCIES:
        errors["currency"] = "Write a currency's code of three letters, for example EUR."
    if errors:
        raise InvalidParams(errors)
    return month, shares, currency


def _keep_settings(scope: Scope, month: date, shares: dict[str, str], currency: str) -> None:
    company_id = scope.company_id
    for period in locked_periods(company_id):
        month_currency = settings_for(company_id, period.month).currency
        if period.month >= month and month_currency != currency:
            raise InvalidParams(
                {"currency": f"{month_text(period.month)} is locked in another currency already."}
            )
    with unit_of_work(company_id, scope) as work:
        before = settings_for(company_id, month)
        db.session.add(
            MonthSettings(
                company_id=company_id,
                from_month=month,
                shares=shares,
                currency=currency,
                created_by=scope.user_id,
            )
        )
        work.changed_spans.append((month, END))
        was = _settings_text(before.shares, before.currency)
        now = _settings_text(shares, currency)
        work.record(
            "set shares", f"label-revenue from {month_text(month)}: {was} before, now {now}"
        )


def _settings_text(shares: Mapping[str, Any], currency: str) -> str:
    parts = [f"{origin.replace('_', ' ')} {share}" for origin, share in sorted(shares.items())]
    return f"{', '.join(parts)}, {currency}"
