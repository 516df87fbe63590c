"""Pages of one's own account: sign in and out, password, sessions, company."""

from __future__ import annotations

import time

from flask import Blueprint, Response, flash, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_user, logout_user

from webapp import mail
from webapp.accounts import people, sessions
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company, scope_of
from webapp.accounts.identity import Identity, forget_identity, identity, require_access, signed_in
from webapp.accounts.limits import remember_device
from webapp.accounts.models import User
from webapp.errors import InvalidParams, NotFound, ReportError, TooMany
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_id, local_path

bp = Blueprint("accounts", __name__)

WRONG = "Email or password is wrong."
# Of the cookie: whose password was right, where the code is still to come.
PENDING = "second_factor_pending"


@bp.before_request
def _only_signed_in() -> Response | None:
    if request.endpoint in {"accounts.login", "accounts.sign_in"}:
        return None
    # Who has no company, or lacks its second factor, may sign out, and work elsewhere.
    leaving = {"accounts.logout", "accounts.sign_out_everywhere", "accounts.switch_company"}
    return None if request.endpoint in leaving and identity() is not None else require_access()


@bp.get("/login")
def login() -> ResponseReturnValue:
    """Show the sign-in form; who is signed in goes on to where they wanted."""
    target = local_path(request.args.get("next"))
    who = identity()
    if who is None:
        return login_form(target)
    if scope_of(who.user, who.company_id) is None and not target.startswith("/invite/"):
        return redirect_to(url_for("links.list_invitations"))
    return redirect_to(target)


@bp.post("/login")
def sign_in() -> ResponseReturnValue:
    """Sign in by email and password."""
    email, target = request.form.get("email", ""), local_path(request.form.get("next"))
    try:
        user = people.check_password(email, request.form.get("password", ""))
    except TooMany as error:
        return login_form(target, error.message), 429, retry_after(error)
    db.session.commit()
    if user is None:
        return login_form(target, WRONG), 422
    if user.second_factor is not None:
        session.clear()
        session[PENDING] = (user.id, user.session_epoch, int(time.time()))
        return redirect_to(url_for("second_factor.ask", next=target))
    # Somebody without a company signs in all the same: an invitation may wait for them.
    begin_session(user, default_company(user) or user.home_company_id)
    return redirect_to(target)


def renew_session(who: Identity, company_id: str = "") -> None:
    """Sign this browser in anew: all sessions of its user have ended, or they join. Commits."""
    by_provider = who.session is not None and who.session.by_provider
    begin_session(who.user, company_id or who.company_id, by_provider=by_provider)


def login_form(target: str, problem: str = "") -> str:
    """Return the page of the sign-in, with what was typed and what is wrong."""
    email = request.form.get("email", "")
    return render_template("accounts/login.html", email=email, next=target, problem=problem)


def retry_after(error: ReportError) -> dict[str, str]:
    """Return the header that says when the next try may come, where too many came."""
    return {"Retry-After": str(error.retry_after_s)} if isinstance(error, TooMany) else {}


def begin_session(user: User, company_id: str, *, by_provider: bool = False) -> None:
    """Sign the browser in under a fresh session and write it down; commits."""
    row = sessions.open_session(user, company_id, by_provider=by_provider)
    # A fresh cookie: nothing of the one before is taken over.
    session.clear()
    login_user(user)
    session[sessions.COOKIE_NAME_OF_SESSION] = row.id
    session.permanent = True
    remember_device(user.email)
    audit(user, "signed in", "by provider" if by_provider else "", company_id=company_id)
    db.session.commit()
    forget_identity()


@bp.post("/logout")
def logout() -> Response:
    """End this browser's session for good."""
    who = signed_in()
    audit(who.user, "signed out", company_id=who.company_id)
    if who.session is not None:
        who.session.revoked_at = utcnow()
    logout_user()
    session.clear()
    db.session.commit()
    forget_identity()
    return redirect_to(url_for("accounts.login"))


@bp.get("/account")
def show_account() -> str:
    """Show the own account: who, where, password, sessions."""
    return _account_page()


@bp.post("/account/password")
def change_password() -> ResponseReturnValue:
    """Change the password; every other session and all tokens end."""
    who, form = signed_in(), request.form
    try:
        people.change_password(
            who.user,
            form.get("password", ""),
            form.get("new_password", ""),
            form.get("new_password_again", ""),
        )
    except InvalidParams as error:
        return _account_page(error.errors), 422
    except TooMany as error:
        return _account_page({"password": error.message}), 429, retry_after(error)
    audit(who.user, "password changed", company_id=who.company_id)
    renew_session(who)
    flash("Your password is changed. All other sessions and tokens have ended.")
    return redirect_to(url_for("accounts.show_account"))


@bp.post("/account/sign-out-everywhere")
def sign_out_everywhere() -> Response:
    """End every session and token of the user, this one too."""
    who = signed_in()
    sessions.end_all_sessions(who.user)
    audit(who.user, "signed out everywhere", company_id=who.company_id)
    db.session.commit()
    session.clear()
    forget_identity()
    flash("You are signed out everywhere.")
    return redirect_to(url_for("accounts.login"))


@bp.post("/company")
def switch_company() -> Response:
    """Work in another of one's companies, in this browser session."""
    who = signed_in()
    company_id = as_id(request.form.get("company_id"))
    scope = scope_of(who.user, company_id) if company_id else None
    if scope is None or who.session is None:
        raise NotFound("You have no role in that company.")
    who.session.company_id = who.user.last_company_id = scope.company_id
    audit(scope, "company switched")
    db.session.commit()
    forget_identity()
    flash(f"You now work in {scope.company_name}.")
    return redirect_to("/")


def _account_page(errors: dict[str, str] | None = None) -> str:
    return render_template(
        "accounts/account.html",
        user=signed_in().user,
        errors=errors or {},
        mail_is_sent=mail.is_set_up(),
    )
