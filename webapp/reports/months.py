"""`/months`: what is stored, and how to make it expire before its time."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, flash, make_response, render_template, request, url_for

from webapp.accounts import audit, check_role, current_scope
from webapp.engine import months, registry
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.bodies import MonthSpan, Text, read_form
from webapp.lib.shown_lists import shown_list
from webapp.reports.blueprint import bp


class ExpireForm(MonthSpan):
    """Which stored months expire: of one kind and subject, or of all."""

    kind: str | None = None
    subject: Text | None = None


@bp.get("/months")
def index_months(errors: Mapping[str, str] | None = None) -> Response:
    """List stored months by kind and subject; what was typed stays where it is refused."""
    scope = current_scope()
    body = render_template(
        "reports/index_months.html",
        stored=shown_list(
            list(months.stored_overview(scope.company_id)), lambda row: f"{row.subject} {row.kind}"
        ),
        kinds=registry.kinds(),
        may_expire=scope.may("expert"),
        typed=request.form,
        errors=errors or {},
    )
    return make_response(body, 422 if errors else 200)


@bp.post("/months/expire")
def expire_months() -> Response:
    """Make stored months expire: of one kind and subject, or of all, in a span or for all time."""
    scope = check_role("expert")
    try:
        sent = read_form(ExpireForm)
        if sent.kind:
            registry.kind_named(sent.kind)
    except InvalidParams as error:
        return index_months(error.errors)
    expired = months.expire(company_id=scope.company_id, **sent.model_dump())
    audit(scope, "expired months", f"{expired}")
    db.session.commit()
    flash(
        f"{expired:,} stored value{'' if expired == 1 else 's'} expired; reports count them again."
    )
    return redirect_to(url_for("reports.index_months"))
