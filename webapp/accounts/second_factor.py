"""A second factor: codes of an authenticator app (TOTP, RFC 6238), recovery codes, and their pages.

The app's secret is kept sealed, recovery codes as hashes; each code works once. Programs are asked
for none: their keys are secrets already.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress

import pyotp
import segno
from flask import Blueprint, Response, flash, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from pyotp.utils import strings_equal
from sqlalchemy import delete, update

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company
from webapp.accounts.identity import identity, signed_in, to_sign_in
from webapp.accounts.keys import hash_secret
from webapp.accounts.limits import count_code, forget_codes
from webapp.accounts.models import RecoveryCode, SecondFactor, User
from webapp.accounts.pages import PENDING, begin_session, renew_session, retry_after
from webapp.accounts.sessions import end_all_sessions
from webapp.errors import InvalidParams, ReportError, TooMany
from webapp.extensions import db, rows_changed
from webapp.htmx import redirect_to
from webapp.lib.moments import utcnow
from webapp.lib.texts import local_path, lookup_id
from webapp.security import SealBroken, seal, unseal

NAME = "Partner Use Report"
STEP_S = 30
# Nothing in them is mistaken for something else; 16 of them are 79 bits.
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
RECOVERY_CODES = 10
WRONG = "This code is wrong, or was used before. Each works once; wait for the next one."


def turn_on(user: User, secret: str, code: str) -> list[str]:
    """Keep a secret whose code was typed, and return new recovery codes; the caller commits.

    Every session ends: those from before have shown no second factor.
    Raises: TooMany, InvalidParams
    """
    count_code(user)
    step = _step_of(secret, _plain(code))
    if step is None:
        raise InvalidParams({"code": WRONG})
    drop_second_factor(user)
    row = SecondFactor(
        user_id=user.id, company_id=user.home_company_id, sealed=seal(secret), last_step=step
    )
    db.session.add(row)
    forget_codes(user)
    return new_recovery_codes(user)


def drop_second_factor(user: User) -> None:
    """Forget the secret and the recovery codes, and end every session; the caller commits."""
    for table in (RecoveryCode, SecondFactor):
        db.session.execute(delete(table).where(table.user_id == user.id))
    db.session.expire(user, ["second_factor"])
    end_all_sessions(user)


def new_recovery_codes(user: User) -> list[str]:
    """Return fresh codes, which nobody can show again; the ones before end. The caller commits."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    codes = [
        "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(4))
        for _ in range(RECOVERY_CODES)
    ]
    db.session.add_all(
        RecoveryCode(user_id=user.id, code_hash=hash_secret(_plain(code))) for code in codes
    )
    return codes


def take_code(user: User, typed: str) -> None:
    """Take a code of the app, or a recovery code, so that it works no second time. Commits.

    Raises: TooMany, InvalidParams
    """
    count_code(user)
    code = _plain(typed)
    step = None
    # Where SECRET_KEY was lost, recovery codes work all the same.
    with suppress(SealBroken):
        step = _step_of(unseal(user.second_factor.sealed), code) if user.second_factor else None
    newer = update(SecondFactor).where(
        SecondFactor.user_id == user.id, SecondFactor.last_step < (step or 0)
    )
    used = delete(RecoveryCode).where(
        RecoveryCode.user_id == user.id, RecoveryCode.code_hash == hash_secret(code)
    )
    # Of two who send the same code at once only one matches a row.
    if rows_changed(newer.values(last_step=step or 0)):
        forget_codes(user)
    elif rows_changed(used):
        forget_codes(user)
        audit(user, "recovery code used")
    else:
        audit(user, "second factor failed")
        db.session.commit()
        raise InvalidParams({"code": WRONG})
    db.session.commit()


def _plain(code: str) -> str:
    return "".join(code.split()).replace("-", "").lower()


def _step_of(secret: str, code: str) -> int | None:
    """Return which half minute a code is of: this one, the one before or the next."""
    now = int(utcnow().timestamp()) // STEP_S
    totp = pyotp.TOTP(secret)
    found = (
        step for step in (now, now - 1, now + 1) if strings_equal(totp.generate_otp(step), code)
    )
    return next(found, None)


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
    page = _code_form(errors) if request.endpoint == "second_factor.answer" else _setup_page(errors)
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
    take_code(user, request.form.get("code", ""))
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
    return _setup_page({})


@bp.post("/account/second-factor")
def set_up() -> ResponseReturnValue:
    """Turn it on: the app shows the right code. All other sessions and tokens end."""
    who = signed_in()
    if who.user.second_factor is not None:
        return redirect_to(url_for("second_factor.show"))
    codes = turn_on(who.user, _offered(), request.form.get("code", ""))
    audit(who.user, "second factor on", company_id=who.company_id)
    renew_session(who)
    return _setup_page({}, codes), 201


@bp.post("/account/second-factor/recovery-codes")
def renew_codes() -> ResponseReturnValue:
    """Make new recovery codes; the ones before end."""
    who = signed_in()
    take_code(who.user, request.form.get("code", ""))
    codes = new_recovery_codes(who.user)
    audit(who.user, "recovery codes made", company_id=who.company_id)
    db.session.commit()
    return _setup_page({}, codes), 201


@bp.post("/account/second-factor/off")
def turn_off() -> ResponseReturnValue:
    """Turn it off; all other sessions and tokens end."""
    who = signed_in()
    take_code(who.user, request.form.get("code", ""))
    drop_second_factor(who.user)
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


def _setup_page(errors: dict[str, str], codes: list[str] | None = None) -> str:
    user = signed_in().user
    offered = {}
    if user.second_factor is None:
        secret = _offered()
        # The `otpauth:` address that an app reads from the picture.
        address = pyotp.TOTP(secret, name=user.email, issuer=NAME).provisioning_uri()
        picture = segno.make(address, error="m")
        offered = {"secret": secret, "picture": picture.svg_data_uri(scale=5, light="white")}
    return render_template(
        "accounts/second_factor.html", user=user, errors=errors, codes=codes, **offered
    )
