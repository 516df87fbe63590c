"""`/reports/new`: choose a kind, fill in its form, look at the cost, start it.

One form serves every kind; its fields come from the kind's parameters. Secrets are never filled in
again, and a form sent twice makes one report.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import Response, make_response, render_template, request, url_for

from webapp.accounts import Scope, audit, check_role, current_scope
from webapp.engine import registry, service
from webapp.engine.kind import Estimate, FirstStep, ReportKind
from webapp.engine.models import Report
from webapp.engine.params import FormField, form_fields
from webapp.errors import InvalidParams, NotFound, PartnerError
from webapp.extensions import db
from webapp.htmx import is_htmx, redirect_to, vary
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text, months_between, next_month, parse_month
from webapp.lib.texts import as_id
from webapp.reports.blueprint import bp
from webapp.security import SealBroken, seal, unseal

KEPT_FOR = timedelta(hours=1)


@dataclass
class Form:
    """A kind's form as it is shown: fields, what is typed into them, what is wrong."""

    kind: ReportKind
    fields: tuple[FormField, ...]
    values: Mapping[str, Any]
    errors: dict[str, str] = field(default_factory=dict)
    once: str = ""
    # Secrets as typed, sealed for the next try.
    kept: str = ""
    step: FirstStep | None = None
    span: tuple[date, date] | None = None
    fills: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)

    @property
    def presets(self) -> list[tuple[str, str, str]]:
        """Return (label, first, last month) of spans people ask for, where the form has months."""
        if not {("start", "month"), ("end", "month")} <= {(f.name, f.widget) for f in self.fields}:
            return []
        last = next_month(current_month(), -1)
        january = last.replace(month=1)
        spans = [("Last month", last), ("Last 12 months", next_month(last, -11))]
        spans.append((f"This year ({january.year})", january))
        if self.span and self.span[0] < last:
            stored = ", as far as stored" if self.kind.asks_partner else ""
            spans.append((f"Since the beginning{stored}", self.span[0]))
        return [(label, month_text(first), month_text(last)) for label, first in spans]

    @property
    def labels(self) -> dict[str, str]:
        return {one.name: one.label for one in self.fields}

    def page(self, status: int = 200, estimate: Estimate | None = None) -> Response:
        """Return the whole page; the token in it makes the form good for one report."""
        self.once = self.once or uuid.uuid4().hex
        scope = current_scope()
        self.step, self.span = self.kind.first_step(scope), self.kind.data_span(scope)
        self.fills = self.kind.fills(scope)
        body = render_template("reports/new_report.html", form=self, estimate=estimate)
        return vary(make_response(body, status))


@bp.get("/reports/new")
def choose_kind() -> str:
    """Show the kinds this user may start: of some, a viewer may."""
    scope = current_scope()
    kinds = [kind for kind in registry.kinds().values() if scope.may(kind.run_role)]
    if not kinds:
        check_role("expert")
    return render_template("reports/choose_kind.html", kinds=kinds)


@bp.get("/reports/new/<slug>")
def new_report(slug: str) -> Response:
    """Show the form of a kind, filled in from the address or from an earlier report."""
    scope, kind = _open_kind(slug)
    fields = form_fields(kind, scope)
    return Form(kind, fields, _prefilled(scope, kind, fields)).page()


def _open_kind(slug: str) -> tuple[Scope, ReportKind]:
    kind = registry.kinds().get(slug)
    if kind is None:
        raise NotFound("There is no such kind of report.")
    return check_role(kind.run_role), kind


def _prefilled(scope: Scope, kind: ReportKind, fields: tuple[FormField, ...]) -> dict[str, Any]:
    values = {one.name: "" if one.default is None else one.default for one in fields}
    span = None if kind.asks_partner else kind.data_span(scope)
    for one in fields:
        if one.months_ago is not None:
            month = next_month(current_month(), -one.months_ago)
            values[one.name] = month_text(min(max(month, span[0]), span[1]) if span else month)
    earlier = as_id(request.args.get("from"))
    if earlier:
        report = service.find_report(scope, earlier)
        if report.kind == kind.slug:
            values |= {name: value for name, value in report.params.items() if name in values}
    asked = {
        one.name: request.args.getlist(one.name) if one.is_list else request.args[one.name]
        for one in fields
        if one.name in request.args
    }
    return {
        name: value for name, value in (values | asked).items() if name not in kind.secret_params
    }


@bp.post("/reports/<uuid:report_id>/again")
def run_again(report_id: UUID) -> Response:
    """Make a report once more, its months moved on; where a secret is needed its form comes."""
    report = service.find_report(current_scope(), str(report_id))
    scope, kind = _open_kind(report.kind)
    params = moved_on(report)
    if kind.secret_params and not any(way <= set(params) for way in kind.credential_options):
        months: dict[str, Any] = {
            name: params[name] for name in ("start", "end") if params.get(name)
        }
        form = url_for("reports.new_report", slug=kind.slug, **months | {"from": report.id})
        return redirect_to(form)
    try:
        started = service.start_report(scope, kind.slug, params)
    except InvalidParams as error:
        fields = form_fields(kind, scope)
        values = {one.name: "" if one.default is None else one.default for one in fields}
        return Form(kind, fields, values | params, error.errors).page(status=422)
    audit(scope, "ran", service.audited(started.report))
    db.session.commit()
    return redirect_to(url_for("reports.show_report", report_id=started.report.id))


def moved_on(report: Report) -> dict[str, Any]:
    """Return what a report was asked with, its months as far on as time is since."""
    params = dict(report.params)
    try:
        start, end = parse_month(params["start"]), parse_month(params["end"])
    except (KeyError, TypeError, ValueError):
        return params
    # One that went up to its own month goes up to the present one, others up to the last closed.
    now = current_month()
    until = now if end >= current_month(report.created_at) else next_month(now, -1)
    by = len(months_between(end, until)) - 1
    if by > 0:
        params |= {"start": month_text(next_month(start, by)), "end": month_text(until)}
    return params


@bp.post("/reports/new/<slug>", endpoint="create_report")
def create_report(slug: str) -> Response:
    """Start the report, or show the form as typed with a sentence per field."""
    scope, kind = _open_kind(slug)
    form = _typed_form(scope, kind)
    try:
        try:
            started = service.start_report(
                scope, kind.slug, _raw(form), idempotency_key=form.once or None
            )
        except InvalidParams as error:
            if set(error.errors) != {"Idempotency-Key"}:
                raise
            # The reader went back, changed something and sent the same form: a new report.
            started = service.start_report(scope, kind.slug, _raw(form))
    except InvalidParams as error:
        form.errors = error.errors
        form.kept = _seal_secrets(scope, form)
        return form.page(status=422)
    if started.is_new:
        audit(scope, "ran", service.audited(started.report))
        db.session.commit()
    return redirect_to(url_for("reports.show_report", report_id=started.report.id))


@bp.post("/reports/new/<slug>/estimate")
def estimate_report(slug: str) -> Response:
    """Say what the report would cost: beside the form for HTMX, else on the page with the form."""
    scope, kind = _open_kind(slug)
    form = _typed_form(scope, kind)
    estimate, refusal, status = None, None, 200
    try:
        estimate = service.estimate_report(scope, kind.slug, _raw(form))
    except InvalidParams as error:
        form.errors, status = error.errors, 422
    except PartnerError as error:
        refusal = error.message
        form.errors, status = {"estimate": error.message}, 422
    if not is_htmx():
        form.kept = _seal_secrets(scope, form)
        if "preset" in request.form:
            form.errors, status = {}, 200
        return form.page(status, estimate)
    if "quiet" in request.args and form.errors:
        form.errors, refusal, status = {}, None, 200
    body = render_template("reports/_estimate.html", estimate=estimate, refusal=refusal, form=form)
    return vary(make_response(body, status))


def _typed_form(scope: Scope, kind: ReportKind) -> Form:
    fields = form_fields(kind, scope)
    values: dict[str, Any] = {one.name: request.form.get(one.name, "") for one in fields}
    for one in fields:
        if one.widget == "checkbox":
            values[one.name] = one.name in request.form
        elif one.widget == "checkboxes":
            values[one.name] = request.form.getlist(one.name)
        elif one.widget == "lines":
            lines = [line.strip() for line in values[one.name].splitlines()]
            values[one.name] = [line for line in lines if line] or ""
    kept = _open_secrets(scope, kind)
    for name in kind.secret_params:
        values[name] = values.get(name) or kept.get(name, "")
    # Without script the button of a span sends the form; with it the fields are filled in there.
    preset = request.form.get("preset", "").split(":")
    if len(preset) == 2:
        values |= {"start": preset[0], "end": preset[1]}
    for name, choices in kind.fills(scope).items():
        for other, value in choices.get(str(values.get(name)), {}).items():
            values[other] = values.get(other) or value
    return Form(kind, fields, values, once=request.form.get("once", "")[:64])


def _raw(form: Form) -> dict[str, Any]:
    """Return what is typed into the fields that count: not those that belong to another choice."""
    return {
        one.name: form.values[one.name]
        for one in form.fields
        if one.when is None or str(form.values.get(one.when[0], "")) in one.when[1].split("|")
    }


def _seal_secrets(scope: Scope, form: Form) -> str:
    """Return the secrets that were typed, sealed for this reader and this form, or nothing."""
    typed = {name: form.values[name] for name in form.kind.secret_params if form.values.get(name)}
    if not typed:
        return ""
    until = (utcnow() + KEPT_FOR).isoformat()
    return seal(json.dumps([_draft_owner(scope, form.kind), until, typed]))


def _open_secrets(scope: Scope, kind: ReportKind) -> dict[str, str]:
    sent = request.form.get("kept", "")
    if not sent:
        return {}
    try:
        owner, until, typed = json.loads(unseal(sent))
    except SealBroken:
        return {}
    is_good = owner == _draft_owner(scope, kind) and datetime.fromisoformat(until) > utcnow()
    return typed if is_good else {}


def _draft_owner(scope: Scope, kind: ReportKind) -> list[str]:
    return ["typed secrets", scope.user_id, scope.company_id, kind.slug]
