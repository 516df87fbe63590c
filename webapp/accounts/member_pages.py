"""Pages of a company's admin: members and their roles, invitations, the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, flash, make_response, render_template, request, url_for

from webapp import mail
from webapp.accounts import invites, members
from webapp.accounts.audit_log import audit, read_entries
from webapp.accounts.identity import current_scope, forget_identity, restrict, scope_or_none
from webapp.accounts.links import RESET, make_link
from webapp.accounts.models import FORMER_MEMBER, ROLES, User
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.texts import lookup_id

bp = Blueprint("members", __name__)
restrict(bp, "admin")

PAGE_SIZE = 100
INVITE_MAIL = """{who} invites you to {company}.

Join within a week:
{link}
"""


@bp.get("/members")
def list_members() -> Response:
    """Show who has which role in the company, and open invitations."""
    return _page()


@bp.post("/members/invite")
def invite() -> Response:
    """Make an invitation; its link goes out by mail, or is in the answer, this once."""
    scope, form = current_scope(), request.form
    email, role = form.get("email", ""), form.get("role", "")
    try:
        made, token = invites.make_invite(scope, email, role, by_mail=mail.is_set_up())
    except InvalidParams as error:
        return _page(errors=error.errors, email=email, role=role, status=422)
    audit(scope, "invited", f"{made.email} as {made.role}")
    link = url_for("links.show_invite", token=token, _external=True)
    if made.by_mail:
        text = INVITE_MAIL.format(who=scope.email, company=scope.company_name, link=link)
        # Before the commit: an invitation nobody hears of is none.
        mail.send([made.email], f"Invitation to {scope.company_name}", text)
        link = ""
    db.session.commit()
    return _page(link=link, invited=made.email, status=201)


@bp.post("/members/invites/<invite_id>/withdraw")
def withdraw_invite(invite_id: str) -> Response:
    """End an invitation before it was used."""
    scope = current_scope()
    email = invites.withdraw_invite(scope.company_id, lookup_id(invite_id))
    audit(scope, "invitation withdrawn", email)
    db.session.commit()
    flash(f"The invitation of {email} is withdrawn.")
    return redirect_to(url_for("members.list_members"))


@bp.post("/members/<user_id>/role")
def change_role(user_id: str) -> Response:
    """Grant a member another role."""
    scope, role = current_scope(), request.form.get("role", "")
    try:
        member = members.change_role(scope.company_id, lookup_id(user_id), role)
    except (InvalidParams, Conflict) as error:
        return _page(errors={"members": error.message}, status=error.status)
    email = member.user.email
    audit(scope, "role granted", f"{email} as {role}")
    db.session.commit()
    return _back(f"{email} is now {role}.")


@bp.post("/members/<user_id>/remove")
def remove(user_id: str) -> Response:
    """Withdraw a member's access to the company; keys and tokens for it stop at once."""
    scope = current_scope()
    try:
        email = members.remove_member(scope.company_id, lookup_id(user_id)).email
    except Conflict as error:
        return _page(errors={"members": error.message}, status=error.status)
    audit(scope, "access withdrawn", email)
    db.session.commit()
    return _back(f"{email} has no access to {scope.company_name} any more.")


@bp.post("/members/<user_id>/password-link")
def make_password_link(user_id: str) -> Response:
    """Make the link by which a member of this company alone sets a new password; shown once."""
    scope = current_scope()
    try:
        user = members.find_own_member(scope.company_id, lookup_id(user_id))
    except Conflict as error:
        return _page(errors={"members": error.message}, status=error.status)
    audit(scope, "password link made", user.email)
    db.session.commit()
    link = url_for("links.show_reset", token=make_link(RESET, user), _external=True)
    return _page(reset_link=link, reset_for=user.email, status=201)


@bp.post("/members/<user_id>/switch")
def switch_member(user_id: str) -> Response:
    """Keep a member of this company alone from signing in, or let them again."""
    on = request.form.get("on") == "true"
    return _change_account(
        user_id,
        lambda user: members.switch_member(user, on=on),
        "switched on" if on else "switched off",
    )


@bp.post("/members/<user_id>/delete")
def delete_member(user_id: str) -> Response:
    """Delete the account of a member of this company alone; what they made stays."""
    return _change_account(user_id, members.delete_user, "deleted")


def _change_account(user_id: str, change: Callable[[User], None], done: str) -> Response:
    scope = current_scope()
    try:
        user = members.find_own_member(scope.company_id, lookup_id(user_id))
        email = user.email
        change(user)
    except Conflict as error:
        return _page(errors={"members": error.message}, status=error.status)
    audit(scope, f"account {done}", FORMER_MEMBER if done == "deleted" else email)
    db.session.commit()
    return _back(f"The account of {email} is {done}.")


@bp.get("/audit")
def show_audit() -> Response:
    """Show who did what in the company, newest first, a page at a time."""
    before = request.args.get("before", type=int)
    if before is not None and not 0 < before < 2**31:
        before = None
    entries, more = read_entries(current_scope().company_id, before=before, limit=PAGE_SIZE)
    older = entries[-1].id if more else None
    page = render_template("accounts/audit.html", entries=entries, older=older)
    return make_response(page)


def _back(message: str) -> Response:
    """Return to the members, or home for an admin who has just given the role away."""
    forget_identity()
    flash(message)
    scope = scope_or_none()
    still_admin = scope is not None and scope.may("admin")
    return redirect_to(url_for("members.list_members") if still_admin else "/")


def _page(*, status: int = 200, **shown: Any) -> Response:
    """Return the page of members; `shown` is what was typed, what is wrong, a link just made."""
    scope = current_scope()
    page = render_template(
        "accounts/members.html",
        members=members.members_of(scope.company_id),
        invites=invites.pending_invites(scope.company_id),
        roles=ROLES,
        scope=scope,
        **({"errors": {}, "email": "", "role": "viewer", "link": "", "invited": ""} | shown),
        own_members=members.own_members(scope.company_id),
    )
    return make_response(page, status)
