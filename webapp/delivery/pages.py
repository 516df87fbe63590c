"""`/saved`: saved reports in the browser, their schedule, who is told, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, abort, flash, make_response, render_template, request
from itsdangerous import BadSignature
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.datastructures import MultiDict

from webapp import mail
from webapp.accounts import audit, current_scope, restrict
from webapp.delivery import definitions, sending
from webapp.delivery.bodies import Changes, NewDefinition
from webapp.delivery.models import SENDING, WAITING, Definition, Delivery
from webapp.delivery.relative import relative_label, relative_word
from webapp.engine.models import Report
from webapp.engine.registry import kinds
from webapp.engine.service import find_report
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.bodies import read_value
from webapp.lib.moments import utcnow
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
    """Show the form that saves a report like one that was made."""
    report = find_report(current_scope(), lookup_id(request.args.get("report")))
    typed = MultiDict({"name": kinds()[report.kind].title})
    for name, word in _movable(report.params).items():
        typed[f"relative.{name}"] = word
    return _form(report, typed)


@bp.post("/saved")
def create_saved() -> Response:
    """Save a report like one that was made."""
    scope = current_scope()
    report = find_report(scope, lookup_id(request.form.get("report")))
    relative = {
        name.removeprefix("relative."): word
        for name, word in request.form.items()
        if name.startswith("relative.") and word
    }
    body = {**_settings(request.form), "kind": report.kind, "params": report.params | relative}
    try:
        definition = definitions.create_definition(scope, read_value(NewDefinition, body))
    except InvalidParams as error:
        return _form(report, request.form, error.errors)
    flash(f"{definition.name} is saved.")
    return redirect_to(f"/saved/{definition.id}")


def _settings(form: MultiDict[str, str]) -> dict[str, Any]:
    """Return what the form says of schedule and targets, as the API takes it."""
    every = form.get("every", "")
    schedule: dict[str, Any] | None = None
    if every == "cron":
        schedule = {"cron": form.get("cron", "")}
    elif every:
        wanted = {"month": ["grace_days"], "week": ["weekday"]}.get(every, [])
        schedule = {"every": every, "at": form.get("at") or "07:00"}
        schedule |= {name: int(form[name]) for name in wanted if form.get(name, "").isdigit()}
    deliver: list[dict[str, Any]] = []
    if addresses := form.get("emails", "").replace(",", " ").replace(";", " ").split():
        deliver.append({"by": "email", "to": addresses, "attach": form.getlist("attach")})
    if url := form.get("webhook", "").strip():
        deliver.append({"by": "webhook", "url": url})
    if url := form.get("folder", "").strip():
        deliver.append({"by": "folder", "url": url, "attach": form.getlist("attach") or ["csv"]})
    return {
        "name": form.get("name", ""),
        "schedule": schedule,
        "deliver": deliver,
        "hold_incomplete": form.get("hold_incomplete") == "true",
        "private": form.get("private") == "true",
    }


def _form(report: Report, typed: Any, errors: dict[str, str] | None = None) -> Response:
    months = _movable(report.params)
    page = render_template(
        "delivery/new.html",
        report_id=report.id,
        kind=kinds()[report.kind],
        params=report.params,
        months={name: (word, relative_label(word)) for name, word in months.items()},
        typed=typed,
        errors=errors or {},
        mail=mail.is_set_up(),
    )
    return make_response(page, 422 if errors else 200)


def _movable(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that are months, and how each is said relative to now."""
    words = {name: relative_word(value, utcnow()) for name, value in params.items()}
    return {name: word for name, word in words.items() if word}


def _found(definition_id: UUID) -> Definition:
    return definitions.find_definition(current_scope(), str(definition_id))


@bp.get("/saved/<uuid:definition_id>")
def show_saved(definition_id: UUID) -> Response:
    """Show one saved report: its last result, its next times, its runs, who was told."""
    definition = _found(definition_id)
    sent = (
        select(Delivery)
        .where(Delivery.definition_id == definition.id)
        .options(joinedload(Delivery.run))
        .order_by(Delivery.created_at.desc(), Delivery.id)
        .limit(50)
    )
    page = render_template(
        "delivery/show.html",
        definition=definition,
        kind=kinds()[definition.kind],
        params=definitions.resolved(kinds()[definition.kind], definition.params),
        runs=definitions.runs_of(definition, limit=24),
        deliveries=db.session.scalars(sent).all(),
        times=[] if definition.paused else definitions.next_moments(definition, 5),
        zone=definitions.zone(),
        latest=definitions.newest_result(definition),
        busy={WAITING, SENDING},
    )
    return make_response(page)


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
        email = sending.subscriber(token)
        if request.method == "POST":
            sending.unsubscribe(token)
    except BadSignature:
        abort(404)
    page = render_template(
        "delivery/unsubscribe.html", email=email, done=request.method == "POST", token=token
    )
    return make_response(page)
