"""`/reports/new`: choose a kind, fill in its form, look at the cost, start it.

One form serves every kind; its fields come from the kind's parameters. Secrets are never filled in
again, and a form sent twice makes one report.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Response, make_response, render_template, request, url_for

from webapp.accounts import Scope, audit, check_role
from webapp.engine import registry, service
from webapp.engine.kind import Estimate, ReportKind
from webapp.engine.params import FormField, form_fields
from webapp.errors import InvalidParams, NotFound, PartnerError
from webapp.extensions import db
from webapp.htmx import is_htmx, redirect_to, vary
from webapp.lib.texts import as_id
from webapp.reports.blueprint import bp


@dataclass
class Form:
    """A kind's form as it is shown: fields, what is typed into them, what is wrong."""

    kind: ReportKind
    fields: tuple[FormField, ...]
    values: Mapping[str, Any]
    errors: dict[str, str] = field(default_factory=dict)
    once: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return {one.name: one.label for one in self.fields}

    def page(self, status: int = 200, estimate: Estimate | None = None) -> Response:
        """Return the whole page; the token in it makes the form good for one report."""
        self.once = self.once or uuid.uuid4().hex
        body = render_template("reports/new_report.html", form=self, estimate=estimate)
        return vary(make_response(body, status))


@bp.get("/reports/new")
def choose_kind() -> str:
    """Show the kinds this user may start."""
    scope = check_role("expert")
    kinds = [kind for kind in registry.kinds().values() if scope.may(kind.run_role)]
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
        return form.page(status=422)
    if started.is_new:
        audit(scope, "ran", f"{kind.slug} {started.report.id}")
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
        return form.page(status, estimate)
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
    return Form(kind, fields, values, once=request.form.get("once", "")[:64])


def _raw(form: Form) -> dict[str, Any]:
    """Return what is typed into the fields that count: not those that belong to another choice."""
    return {
        one.name: form.values[one.name]
        for one in form.fields
        if one.when is None or str(form.values.get(one.when[0], "")) == one.when[1]
    }
