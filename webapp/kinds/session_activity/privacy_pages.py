"""Settings of a company, what is held about somebody with its download, erasing a login: pages."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import (
    Response,
    current_app,
    flash,
    jsonify,
    make_response,
    render_template,
    request,
    url_for,
)
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from webapp.accounts import current_scope, require
from webapp.errors import InvalidParams, NotFound
from webapp.htmx import redirect_to
from webapp.kinds.session_activity.bodies import LoginOrAllQuery, LoginQuery, NamesQuery
from webapp.kinds.session_activity.compute import by_period, day_of
from webapp.kinds.session_activity.facts import login_days
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.login_page import bp
from webapp.kinds.session_activity.names import change_settings, find_login, settings_of
from webapp.kinds.session_activity.pages import local_text, names_page
from webapp.kinds.session_activity.privacy import addresses, erase, held, wanted_logins
from webapp.kinds.session_activity.use import read_opening, read_rooms
from webapp.lib.bodies import Text, WholeNumber, read_form, read_query
from webapp.lib.model import LazyModel
from webapp.lib.moments import utcnow
from webapp.lib.months import last_day, month_text, next_month

__all__ = ["bp"]
MONTHS_SHOWN = 12


def _opening(text: str) -> str:
    read_opening(text)
    return text


def _rooms(text: str) -> str:
    read_rooms(text)
    return text


MailDomain = StringConstraints(max_length=253, pattern=r"^[^@\s]*$", to_lower=True)


class SettingsForm(LazyModel):
    """How a company's names and hours are read; see `models.Settings`."""

    model_config = ConfigDict(str_strip_whitespace=True)

    strips_domain: bool = False
    opening_hours: Annotated[Text, Field(max_length=500), AfterValidator(_opening)] = ""
    rooms: Annotated[Text, Field(max_length=10_000), AfterValidator(_rooms)] = ""
    hours_seen_by: Literal["everybody", "admins", "oneself"] = "everybody"
    mail_domain: Annotated[Text, MailDomain] = ""
    names_kept_months: Annotated[int | None, WholeNumber(1, 120)] = None


@bp.post("/settings")
@require("admin")
def set_settings() -> Response:
    """Set how names are matched, when it is open, and which computers stand in which room."""
    try:
        wanted = read_form(SettingsForm)
    except InvalidParams as error:
        typed = dict.fromkeys(SettingsForm.model_fields, "") | request.form.to_dict()
        return make_response(names_page("users", NamesQuery(), typed, error.errors), 422)
    change_settings(current_scope(), wanted.model_dump())
    flash("The settings are kept.")
    return redirect_to(url_for("session_activity.show_names", which="users"))


@bp.get("/me")
def show_own() -> str:
    """Show what is held about the caller, and who may see it."""
    scope, zone, now = current_scope(), zone_of(current_app), utcnow()
    month = day_of(now, zone).replace(day=1)
    first = next_month(month, 1 - MONTHS_SHOWN)
    shown = [
        {
            "name": login.name,
            "months": [
                (month_text(period), hours)
                for period, hours in by_period(
                    login_days(login, "", first, last_day(month), zone), "month"
                ).items()
            ][::-1],
            "addresses": addresses(login),
        }
        for login in wanted_logins(scope, "")
    ]
    return render_template(
        "session_activity/me.html",
        shown=shown,
        settings=settings_of(scope.company_id),
        zone=zone.key,
        local=local_text,
    )


@bp.get("/held.json")
def download_held() -> Response:
    """Give all rows about a login that the caller may see, or about each of their own."""
    logins = wanted_logins(current_scope(), read_query(LoginOrAllQuery).login)
    response = jsonify([held(login) for login in logins])
    response.headers.set("Content-Disposition", "attachment", filename="held.json")
    return response


@bp.get("/erase")
@require("admin")
def confirm_erasing() -> str:
    """Ask whether a login is to be erased, and say what that does."""
    return _erasing(read_query(LoginQuery).login)


@bp.post("/erase")
@require("admin")
def erase_login() -> Response | tuple[str, int]:
    """Forget who a login is, where its name was written once more."""
    scope, name = current_scope(), read_form(LoginQuery).login
    if request.form.get("again", "").strip() != name:
        return _erasing(name, problem="Write the name exactly as it stands above."), 422
    erase(scope.company_id, name, scope)
    flash("The login is erased. Its hours are kept without a name.")
    return redirect_to(url_for("session_activity.show_names", which="users"))


def _erasing(name: str, problem: str = "") -> str:
    login = find_login(current_scope(), name, managing=True)
    if login is None:
        raise NotFound(f"There is no login {name!r}.")
    return render_template("session_activity/erase.html", login=login, problem=problem)
