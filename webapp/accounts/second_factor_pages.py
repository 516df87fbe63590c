"""Pages of the second factor: set up, asked for at sign-in, recovery codes, taken away."""

from __future__ import annotations

import time

import pyotp
import segno
from flask import Blueprint, Response, flash, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from webapp.accounts import second_factor
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company
from webapp.accounts.identity import identity, signed_in, to_sign_in
from webapp.accounts.models import User
from webapp.accounts.pages import PENDING, begin_session, renew_session, retry_after
from webapp.errors import InvalidParams, ReportError, TooMany
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.texts import local_path, lookup_id
from webapp.security import SealBroken, seal, unseal

bp = Blueprint("second_factor", __name__)

# How long the password's half of a sign-in waits for the code.
PENDING_S = 600
# Of the cookie: a secret offered and not yet taken, sealed.
OFFERED = "second_factor_offered"


@bp.before_request
def _only_signed_in() -> Response | None:
    # Who has no company, or still lacks the second factor of theirs, may set it up.
    is_step = request.endpoint in {"second_factor.ask", "second_factor.answer"}
    return None if is_step or identity() is not None else to_sign_in()


@bp.errorhandler(InvalidParams)
@bp.errorhandler(TooMany)
def show_problem(error: ReportError) -> ResponseReturnValue:
    """Show the form again, and why the code that was typed is refused."""
    errors = {"code": error.message}
    page = _code_form(errors) if request.endpoint == "second_factor.answer" else _page(errors)
    return page, error.status, retry_after(error)


@bp.get("/login/code")
def ask() -> ResponseReturnValue:
    """Ask for the code, after the password."""
    if _half_signed_in() is None:
        return redirect_to(url_for("accounts.login", next=local_path(request.args.get("next"))))
    return _code_form({})


@bp.post("/login/code")
def answer() -> ResponseReturnValue:
    """Sign in: the password was right, and so is the code."""
    target = local_path(request.form.get("next"))
    user = _half_signed_in()
    if user is None:
        return redirect_to(url_for("accounts.login", next=target))
    second_factor.take_code(user, request.form.get("code", ""))
    begin_session(user, default_company(user) or user.home_company_id)
    return redirect_to(target)


def _code_form(errors: dict[str, str]) -> str:
    target = local_path(request.values.get("next"))
    return render_template("accounts/code.html", next=target, errors=errors)


def _half_signed_in() -> User | None:
    """Return whose password was right in this browser, a moment ago."""
    user_id, epoch, at = session.get(PENDING) or ("", 0, 0)
    user = db.session.get(User, lookup_id(user_id)) if time.time() - at < PENDING_S else None
    return user if user and user.is_active and user.session_epoch == epoch else None


@bp.get("/account/second-factor")
def show() -> str:
    """Show how to set it up, or what can be done with it."""
    return _page({})


@bp.post("/account/second-factor")
def set_up() -> ResponseReturnValue:
    """Turn it on: the app shows the right code. All other sessions and tokens end."""
    who = signed_in()
    if who.user.second_factor is not None:
        return redirect_to(url_for("second_factor.show"))
    codes = second_factor.turn_on(who.user, _offered(), request.form.get("code", ""))
    audit(who.user, "second factor on", company_id=who.company_id)
    renew_session(who)
    return _page({}, codes), 201


@bp.post("/account/second-factor/recovery-codes")
def renew_codes() -> ResponseReturnValue:
    """Make new recovery codes; the ones before end."""
    who = signed_in()
    second_factor.take_code(who.user, request.form.get("code", ""))
    codes = second_factor.new_recovery_codes(who.user)
    audit(who.user, "recovery codes made", company_id=who.company_id)
    db.session.commit()
    return _page({}, codes), 201


@bp.post("/account/second-factor/off")
def turn_off() -> ResponseReturnValue:
    """Turn it off; all other sessions and tokens end."""
    who = signed_in()
    second_factor.take_code(who.user, request.form.get("code", ""))
    second_factor.turn_off(who.user)
    audit(who.user, "second factor off", company_id=who.company_id)
    renew_session(who)
    flash("Your second factor is off.")
    return redirect_to(url_for("second_factor.show"))


def _offered() -> str:
    """Return the secret this browser was shown, a fresh one where there is none."""
    try:
        return unseal(session.get(OFFERED, ""))
    except SealBroken:
        secret = pyotp.random_base32()
        session[OFFERED] = seal(secret)
        return secret


def _page(errors: dict[str, str], codes: list[str] | None = None) -> str:
    user = signed_in().user
    offered = {}
    if user.second_factor is None:
        secret = _offered()
        picture = segno.make(second_factor.address_of(secret, user), error="m")
        offered = {"secret": secret, "picture": picture.svg_data_uri(scale=5, light="white")}
    return render_template(
        "accounts/second_factor.html", user=user, errors=errors, codes=codes, **offered
    )
