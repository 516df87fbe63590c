"""The page behind an invitation's link: set a password, or join with the account one has."""

from __future__ import annotations

from flask import Blueprint, Response, flash, make_response, render_template, request, url_for

from webapp.accounts import invites
from webapp.accounts.audit_log import audit
from webapp.accounts.identity import identity
from webapp.accounts.models import Invite
from webapp.accounts.pages import begin_session
from webapp.accounts.people import find_user
from webapp.errors import InvalidParams
from webapp.htmx import redirect_to

bp = Blueprint("invites", __name__)


@bp.get("/invite/<token>")
def show_invite(token: str) -> Response:
    """Show what the invitation is for and what its reader can do with it."""
    return _page(invites.find_invite(token), token)


@bp.post("/invite/<token>")
def accept_invite(token: str) -> Response:
    """Join the company: as a new user with a password, or as the user who is signed in."""
    invite = invites.find_invite(token)
    company_id, form = invite.company_id, request.form
    company_name, role = invite.company.name, invite.role
    user = find_user(invite.email)
    if user is not None:
        who = identity()
        if who is None or who.user.id != user.id:
            return _page(invite, token)
        invites.join(invite, user)
    else:
        try:
            user = invites.join_as_new_user(
                invite,
                form.get("password", ""),
                form.get("password_again", ""),
                first_name=form.get("first_name", ""),
                last_name=form.get("last_name", ""),
            )
        except InvalidParams as error:
            return _page(invite, token, errors=error.errors, status=422)
    audit(user, "joined", f"as {role}", company_id=company_id)
    begin_session(user, company_id)
    flash(f"Welcome to {company_name}.")
    return redirect_to("/")


def _page(
    invite: Invite, token: str, *, errors: dict[str, str] | None = None, status: int = 200
) -> Response:
    who = identity()
    page = render_template(
        "accounts/invite.html",
        invite=invite,
        has_account=find_user(invite.email) is not None,
        signed_in_as=who.user.email if who else "",
        here=url_for("invites.show_invite", token=token),
        errors=errors or {},
        first_name=request.form.get("first_name", ""),
        last_name=request.form.get("last_name", ""),
    )
    return make_response(page, status)
