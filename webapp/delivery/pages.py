"""`/saved`: saved reports in the browser, their schedule, who is told, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, abort, flash, make_response, render_template, request
from itsdangerous import BadSignature
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from webapp import mail
from webapp.accounts import audit, current_scope, restrict, zone_of
from webapp.delivery import definitions, forms, sending
from webapp.delivery.bodies import Changes, NewDefinition
from webapp.delivery.models import SENDING, WAITING, Definition, DefinitionRun, Delivery
from webapp.delivery.results import FIRST, columns_of, rule_text
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.service import find_report
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.bodies import read_value
from webapp.lib.texts import lookup_id

bp = Blueprint("saved", __name__, template_folder="templates")
restrict(bp)
# Readers of a mail have no account here; the token says who they are.
leaving = Blueprint("leaving", __name__)


@bp.get("/saved")
def index_saved() -> Response:
    """List what is saved, with when it is due next and what came last."""
    found = select(Definition).where(definitions.visible(current_scope()))
    rows = [
        (definition, next(iter(definitions.runs_of(definition, limit=1)), None))
        for definition in db.session.scalars(found.order_by(Definition.name, Definition.id))
    ]
    return make_response(render_template("delivery/index.html", rows=rows, kinds=kinds()))


@bp.get("/saved/new")
def new_saved() -> Response:
    """Show the form that saves a report like one that was made, or like one that is saved."""
    origin = _origin(request.args)
    if isinstance(origin, Definition):
        typed = forms.form_of(origin)
        typed["name"] = f"{origin.name} (copy)"
    else:
        typed = forms.Form({"name": kinds()[origin.kind].title})
    return _definition_form(origin, typed)


def _origin(given: Mapping[str, str]) -> Report | Definition:
    """Return what a new saved report begins from."""
    if given.get("definition"):
        return definitions.find_definition(current_scope(), lookup_id(given["definition"]))
    return find_report(current_scope(), lookup_id(given.get("report")))


@bp.post("/saved")
def create_saved() -> Response:
    """Save a report like one that was made, or like one that is saved."""
    scope, form = current_scope(), request.form
    origin = _origin(form)
    body = forms.read_settings(form) | {"kind": origin.kind}
    body["params"] = origin.params | forms.read_relative(form)
    if isinstance(origin, Definition):
        body.setdefault("deliver", origin.deliver)
    try:
        definition = definitions.create_definition(scope, read_value(NewDefinition, body))
    except InvalidParams as error:
        return _definition_form(origin, form, errors=error.errors)
    flash(f"{definition.name} is saved.")
    return redirect_to(f"/saved/{definition.id}")


@bp.get("/saved/<uuid:definition_id>/edit")
def edit_saved(definition_id: UUID) -> Response:
    """Show the form of a saved report."""
    definition = _found(definition_id)
    definitions.check_may_change(current_scope(), definition)
    return _definition_form(definition, forms.form_of(definition), changes=definition)


@bp.post("/saved/<uuid:definition_id>/edit")
def change_saved(definition_id: UUID) -> Response:
    """Change a saved report as its form says."""
    scope, definition, form = current_scope(), _found(definition_id), request.form
    body = forms.read_settings(form)
    body["params"] = definition.params | forms.read_relative(form)
    try:
        definitions.change_definition(scope, definition, read_value(Changes, body))
    except InvalidParams as error:
        db.session.rollback()
        return _definition_form(definition, form, changes=definition, errors=error.errors)
    audit(scope, "changed saved report", f"{definition.name} {definition.id}")
    db.session.commit()
    flash(f"{definition.name} is changed.")
    return redirect_to(f"/saved/{definition_id}")


def _definition_form(
    origin: Report | Definition,
    typed: forms.Form,
    *,
    changes: Definition | None = None,
    errors: dict[str, str] | None = None,
) -> Response:
    is_report = isinstance(origin, Report)
    latest = origin if isinstance(origin, Report) else definitions.newest_result(origin)
    kind = kinds()[origin.kind]
    page = render_template(
        "delivery/new.html",
        origin_id=origin.id,
        is_report=is_report,
        changes=changes,
        kind=kind,
        described=definitions.described(kind, origin.params),
        months=forms.month_choices(origin.params, typed),
        watchable=forms.watchable(latest),
        lines=forms.alert_lines(typed),
        rules=forms.RULES,
        typed=typed,
        errors=errors or {},
        mail=mail.is_set_up(),
    )
    return make_response(page, 422 if errors else 200)


def _found(definition_id: UUID) -> Definition:
    return definitions.find_definition(current_scope(), str(definition_id))


@bp.get("/saved/<uuid:definition_id>")
def show_saved(definition_id: UUID) -> Response:
    """Show one saved report: its last result, its next times, its runs, who was told."""
    return _definition_page(_found(definition_id))


def _definition_page(definition: Definition, secret: str = "") -> Response:
    sent = (
        select(Delivery)
        .where(Delivery.definition_id == definition.id)
        .options(joinedload(Delivery.run))
        .order_by(Delivery.created_at.desc(), Delivery.id)
        .limit(50)
    )
    runs, kind = definitions.runs_of(definition, limit=24), kinds()[definition.kind]
    page = render_template(
        "delivery/show.html",
        definition=definition,
        kind=kind,
        described=definitions.described(kind, definition.params),
        runs=runs,
        course=course(runs),
        rule_text=rule_text,
        deliveries=db.session.scalars(sent).all(),
        times=[] if definition.paused else definitions.next_moments(definition, 5),
        zone=zone_of(definition.company_id),
        latest=definitions.newest_result(definition),
        busy={WAITING, SENDING},
        may_run=current_scope().may(kind.run_role),
        may_change=definitions.may_change(current_scope(), definition),
        has_webhook=any(target["by"] == "webhook" for target in definition.deliver),
        secret=secret,
    )
    return make_response(page)


@bp.post("/saved/<uuid:definition_id>/secret")
def rotate_secret(definition_id: UUID) -> Response:
    """Make a new secret for its webhooks and show it, this once."""
    scope, definition = current_scope(), _found(definition_id)
    return _definition_page(definition, definitions.rotate_secret(scope, definition))


def course(runs: Sequence[DefinitionRun]) -> dict[str, Any]:
    """Return the main figure over runs that come newest first, and a line of it.

    Shape: label, unit; values by run id; points of an SVG line, 100 wide and 30 high, oldest first
    The main figure is the first one of the newest result.
    """
    main: dict[str, Any] = next((run.figures[0] for run in runs if run.figures), {"label": ""})
    values = {
        run.id: next(
            (one["value"] for one in run.figures or () if one["label"] == main["label"]), None
        )
        for run in runs
    }
    known = [value for value in reversed(values.values()) if value is not None]
    low, span = min(known, default=0), (max(known, default=0) - min(known, default=0)) or 1
    step = 100 / max(len(known) - 1, 1)
    points = [f"{n * step:.1f},{28 - (v - low) / span * 26:.1f}" for n, v in enumerate(known)]
    unit = main.get("unit", "")
    return {"label": main["label"], "unit": unit, "values": values, "points": " ".join(points)}


@bp.get("/saved/<uuid:definition_id>/compare")
def compare_saved(definition_id: UUID) -> Response:
    """Show two results of a saved report side by side; the last two where none are named."""
    scope, definition = current_scope(), _found(definition_id)
    runs = [run for run in definitions.runs_of(definition) if run.report and run.report.has_result]
    ids = [str(run.report_id) for run in runs]
    after = request.args.get("to") or next(iter(ids), "")
    earlier = [one for one in ids if one != after]
    before = request.args.get("from") or next(iter(earlier), "")
    found, problem = None, "" if before else "It needs two results; there are fewer."
    if before:
        try:
            found = definitions.compare_results(scope, definition, before, after)
        except InvalidParams as error:
            problem = next(iter(error.errors.values()))
    page = render_template(
        "delivery/compare.html",
        definition=definition,
        runs=runs,
        before=before,
        after=after,
        found=found,
        problem=problem,
        first=FIRST,
        columns=columns_of(runs[0].report) if runs and runs[0].report else {},
    )
    return make_response(page, 200 if found or not before else 422)


@bp.post("/saved/<uuid:definition_id>/<any(run,pause,resume,delete):verb>")
def act_on_saved(definition_id: UUID, verb: str) -> Response:
    """Run, pause, resume or delete a saved report."""
    scope, definition = current_scope(), _found(definition_id)
    name, address = definition.name, f"/saved/{definition_id}"
    if verb == "run":
        address = f"/reports/{definitions.run_now(scope, definition).id}"
    elif verb == "delete":
        definitions.delete_definition(scope, definition)
        address = "/saved"
        flash(f"{name} is deleted; its reports stay.")
    else:
        definitions.change_definition(scope, definition, Changes(paused=verb == "pause"))
        flash(f"{name} is {'paused' if verb == 'pause' else 'resumed'}.")
    audit(scope, f"{verb} saved report", f"{name} {definition_id}")
    db.session.commit()
    return redirect_to(address)


@bp.post("/saved/deliveries/<uuid:delivery_id>/resend")
def resend_saved(delivery_id: UUID) -> Response:
    """Send a delivery again."""
    delivery = definitions.resend(current_scope(), str(delivery_id))
    flash("It is sent again.")
    return redirect_to(f"/saved/{delivery.definition_id}")


@leaving.route("/unsubscribe/<token>", methods=["GET", "POST"])
def unsubscribe(token: str) -> Response:
    """Take a reader out of a mail: asked on a page, or at once by the mail program (RFC 8058)."""
    try:
        definition_id, email = sending.unsubscribe_signer().loads(token)
    except BadSignature:
        abort(404)
    if request.method == "POST":
        sending.unsubscribe(definition_id, email)
    page = render_template(
        "delivery/unsubscribe.html", email=email, done=request.method == "POST", token=token
    )
    return make_response(page)
