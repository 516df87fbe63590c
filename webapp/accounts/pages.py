"""Pages of one's own account: sign in and out, password, sessions, company, invitations."""

from __future__ import annotations

from flask import (
    Blueprint,
    Response,
    flash,
    make_response,
    render_template,
    request,
    session,
    url_for,
)

from webapp.accounts import members, people, sessions
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import default_company, scope_of
from webapp.accounts.identity import forget_identity, identity, require_access, signed_in
from webapp.accounts.models import Invite, User
from webapp.errors import InvalidParams, NotFound, TooMany
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.texts import as_id, local_path

bp = Blueprint("accounts", __name__)
invites_bp = Blueprint("invites", __name__)

WRONG = "Email or password is wrong."
NO_COMPANY = "Your account has no company at the moment. Ask an admin of yours for an invitation."


@bp.before_request
def _only_signed_in() -> Response | None:
    return None if request.endpoint == "accounts.login" else require_access()


@bp.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Show the sign-in form, or sign in; who is signed in goes on to where they wanted."""
    if request.method == "POST":
        return _sign_in()
    target = local_path(request.args.get("next"))
    who = identity()
    if who is not None and scope_of(who.user, who.company_id) is not None:
        return redirect_to(target)
    return _login_form(target)


def _sign_in() -> Response:
    email = request.form.get("email", "")
    target = local_path(request.form.get("next"))
    try:
        user = people.check_password(email, request.form.get("password", ""))
    except TooMany as error:
        response = _login_form(target, email=email, problem=error.message, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    db.session.commit()
    if user is None:
        return _login_form(target, email=email, problem=WRONG, status=422)
    company_id = default_company(user)
    if company_id is None:
        return _login_form(target, email=email, problem=NO_COMPANY, status=422)
    begin_session(user, company_id)
    return redirect_to(target)


def begin_session(user: User, company_id: str) -> None:
    """Sign the browser in under a fresh session and write it down; commits."""
    sessions.sign_in_browser(user, company_id)
    audit(user, "signed in", company_id=company_id)
    db.session.commit()
    forget_identity()


def _login_form(target: str, *, email: str = "", problem: str = "", status: int = 200) -> Response:
    page = render_template("accounts/login.html", email=email, next=target, problem=problem)
    return make_response(page, status)


@bp.post("/logout")
def logout() -> Response:
    """End this browser's session for good."""
    who = signed_in()
    audit(who.user, "signed out", company_id=who.company_id)
    sessions.sign_out_browser()
    db.session.commit()
    forget_identity()
    return redirect_to(url_for("accounts.login"))


@bp.get("/account")
def show_account() -> Response:
    """Show the own account: who, where, password, sessions."""
    return _account_page()


@bp.post("/account/password")
def change_password() -> Response:
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
        return _account_page(error.errors, status=422)
    except TooMany as error:
        response = _account_page({"password": error.message}, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    audit(who.user, "password changed", company_id=who.company_id)
    begin_session(who.user, who.company_id)
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
    db.session.commit()
    forget_identity()
    flash(f"You now work in {scope.company_name}.")
    return redirect_to("/")


def _account_page(errors: dict[str, str] | None = None, *, status: int = 200) -> Response:
    page = render_template("accounts/account.html", user=signed_in().user, errors=errors or {})
    return make_response(page, status)


@invites_bp.get("/invite/<token>")
def show_invite(token: str) -> Response:
    """Show what the invitation is for and what its reader can do with it."""
    return _invite_page(members.find_invite(token), token)


@invites_bp.post("/invite/<token>")
def accept_invite(token: str) -> Response:
    """Join the company: as a new user with a password, or as the user who is signed in."""
    invite, form, who = members.find_invite(token), request.form, identity()
    company_id, company_name, role = invite.company_id, invite.company.name, invite.role
    user = people.find_user(invite.email)
    if user is not None and (who is None or who.user.id != user.id):
        return _invite_page(invite, token)
    try:
        if user is None:
            user = members.join_as_new_user(
                invite,
                form.get("password", ""),
                form.get("password_again", ""),
                first_name=form.get("first_name", ""),
                last_name=form.get("last_name", ""),
            )
        else:
            members.join(invite, user)
    except InvalidParams as error:
        return _invite_page(invite, token, errors=error.errors, status=422)
    audit(user, "joined", f"as {role}", company_id=company_id)
    begin_session(user, company_id)
    flash(f"Welcome to {company_name}.")
    return redirect_to("/")


def _invite_page(
    invite: Invite, token: str, *, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    who = identity()
    page = render_template(
        "accounts/invite.html",
        invite=invite,
        has_account=people.find_user(invite.email) is not None,
        signed_in_as=who.user.email if who else "",
        here=url_for("invites.show_invite", token=token),
        errors=errors or {},
        first_name=request.form.get("first_name", ""),
        last_name=request.form.get("last_name", ""),
    )
    return make_response(page, status)
