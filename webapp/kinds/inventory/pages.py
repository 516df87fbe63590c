"""`/inventory`: periods, units, entries and uploads for people; files of reports for members."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from flask import Blueprint, Response, flash, make_response, render_template, request, url_for
from pydantic import ValidationError

from webapp.accounts import audit, current_scope, require, restrict
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.kinds.inventory import entries, files, places
from webapp.kinds.inventory.bodies import PeriodIn, SettingsBody, UnitIn
from webapp.kinds.inventory.flow_api import file_status, find_report, send_file
from webapp.kinds.inventory.params import MADE
from webapp.lib.bodies import sentences
from webapp.lib.keyset import cut
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import plain, storable

ENTRIES_PER_PAGE = 100
# Texts of a statement: name, label, what to write.
SETTINGS = (
    (
        "boundaries",
        "Boundaries",
        "The organisational boundary (operational control, financial control, equity share), "
        "what is included, and what is left out and why.",
    ),
    ("methods", "Methods", "How quantities are measured or estimated, and the base year's policy."),
    (
        "factor_sources",
        "Sources of factors",
        "Which lists, of which years, and whose warming potentials.",
    ),
)

bp = Blueprint("inventory", __name__, url_prefix="/inventory", template_folder="templates")
restrict(bp)


@bp.app_template_filter("exact_number")
def exact_number(value: Decimal) -> str:
    """Return a decimal with every digit it has, its thousands apart."""
    return f"{Decimal(plain(value)):,f}"


@bp.get("")
def show_inventory() -> Response:
    """Show periods and units, with forms for those who may change them."""
    return _overview()


def _overview(
    errors: dict[str, str] | None = None, typed: dict[str, str] | None = None, status: int = 200
) -> Response:
    scope = current_scope()
    page = render_template(
        "inventory/show_inventory.html",
        scope=scope,
        periods=shown_list(
            places.list_periods(scope.company_id),
            lambda one: f"{one.short_name} {one.description or ''} {one.start_date} {one.id}",
            "periods",
        ),
        units=(units := places.read_tree(scope.company_id).walk()),
        tree=shown_list(units, lambda one: f"{one[0].name} {one[0].id}", "units"),
        counts=entries.counts_by_period(scope.company_id),
        errors=errors or {},
        typed=typed or {},
    )
    return make_response(page, status)


def _typed(*names: str) -> dict[str, str]:
    """Return what was typed into a form's fields; an empty one counts as not given."""
    found = {name: request.form.get(name, "").strip() for name in names}
    return {name: value for name, value in found.items() if value}


@bp.post("/periods")
@require("admin")
def add_period() -> Response:
    """Make a period."""
    typed = _typed("short_name", "description", "start_date", "end_date")
    try:
        body = PeriodIn.model_validate(typed)
    except ValidationError as error:
        return _overview(sentences(error), typed, 422)
    scope = current_scope()
    places.put_periods(scope.company_id, [body])
    audit(scope, "stored periods", body.short_name)
    db.session.commit()
    flash(f"The period {body.short_name} is made.")
    return redirect_to(url_for("inventory.show_inventory"))


@bp.post("/periods/<uuid:period_id>/<any(lock, unlock):what>")
@require("admin")
def lock_period(period_id: UUID, what: str) -> Response:
    """Lock a period, so that its entries stay as they are, or unlock it."""
    scope = current_scope()
    period = places.find_period(scope.company_id, period_id)
    period.is_locked = what == "lock"
    name = period.short_name
    audit(scope, f"{what}ed period", name)
    db.session.commit()
    flash(f"The period {name} is {what}ed.")
    return redirect_to(url_for("inventory.show_inventory"))


@bp.get("/settings")
def show_settings() -> Response:
    """Show what statements say beside their figures, to admins as a form."""
    return _settings_page(places.settings_of(db.session, current_scope().company_id).model_dump())


def _settings_page(
    typed: dict[str, str], errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    page = render_template(
        "inventory/show_settings.html",
        scope=current_scope(),
        typed=typed,
        errors=errors or {},
        fields=SETTINGS,
    )
    return make_response(page, status)


@bp.post("/settings")
@require("admin")
def save_settings() -> Response:
    """Keep what statements say beside their figures."""
    typed = _typed("responsible", "boundaries", "methods", "factor_sources", "paper")
    try:
        body = SettingsBody.model_validate(typed)
    except ValidationError as error:
        return _settings_page(typed, sentences(error), 422)
    scope = current_scope()
    places.put_settings(scope.company_id, body)
    audit(scope, "changed inventory settings", "")
    db.session.commit()
    flash("New statements include this.")
    return redirect_to(url_for("inventory.show_settings"))


@bp.post("/units")
@require("admin")
def add_unit() -> Response:
    """Make a unit below another one."""
    typed = _typed("name", "parent_id", "position")
    scope = current_scope()
    try:
        body = UnitIn.model_validate(typed)
        places.put_units(scope.company_id, [body])
    except (ValidationError, InvalidParams) as error:
        errors = error.errors if isinstance(error, InvalidParams) else sentences(error)
        named = {f"unit_{key.removeprefix('units.0.')}": one for key, one in errors.items()}
        return _overview(named, typed, 422)
    audit(scope, "stored units", body.name)
    db.session.commit()
    flash(f"The unit {body.name} is made.")
    return redirect_to(url_for("inventory.show_inventory"))


@bp.get("/entries")
def index_entries() -> str:
    """Show entries by id, of one period or all."""
    company_id = current_scope().company_id
    wanted, after = request.args.get("period"), request.args.get("after", "")
    period = places.find_period(company_id, wanted) if wanted else None
    if not storable(after):
        after = ""
    found = entries.read_entries(company_id, period=period, after=after, limit=ENTRIES_PER_PAGE)
    shown, more = cut(found, ENTRIES_PER_PAGE)
    return render_template(
        "inventory/index_entries.html",
        scope=current_scope(),
        entries=shown,
        more=more,
        first_page=not after,
        period=period,
        periods={one.id: one.short_name for one in places.list_periods(company_id)},
        units={unit.id: unit.name for unit, _ in places.read_tree(company_id).walk()},
    )


@bp.get("/reports/<uuid:report_id>/<kind>.<any(xlsx, pdf, json):format>")
def download_file(report_id: UUID, kind: str, format: str) -> Response:
    """Give a file of a finished report to a member of its company."""
    scope = current_scope()
    report = find_report(scope, str(report_id))
    found = files.files_of(report.id, report.attempt)
    if MADE.get(kind) != format.upper():
        raise NotFound("No such file is made.")
    if file_status(report, len(found)) != "DONE" or kind not in found:
        raise NotFound("The report has no such file, or it has expired. Run the report again.")
    return send_file(found[kind], scope)
