"""Pages of a company's admin: members and their roles, invitations."""

from __future__ import annotations

from typing import Any
from zoneinfo import available_timezones

from flask import Blueprint, Response, current_app, flash, render_template, request, url_for
from flask.typing import ResponseReturnValue

from webapp import mail
from webapp.accounts import invites, members, second_factor
from webapp.accounts.audit_log import audit
from webapp.accounts.companies import zone_changed, zone_of
from webapp.accounts.identity import current_scope, forget_identity, restrict, scope_or_none
from webapp.accounts.link_pages import RESET, make_link
from webapp.accounts.models import FORMER_MEMBER, ROLES, Company
from webapp.errors import Conflict, InvalidParams, ReportError
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.shown_lists import shown_list
from webapp.lib.texts import lookup_id

bp = Blueprint("members", __name__)
restrict(bp, "admin")

INVITE_MAIL = """{who} invites you to {company}.

Join within a week:
{link}
"""


@bp.get("/members")
def list_members() -> str:
    """Show who has which role in the company, and open invitations."""
    return _members_page()


@bp.post("/members/invite")
def invite() -> ResponseReturnValue:
    """Make an invitation; its link goes out by mail, or is in the answer, this once."""
    scope, form = current_scope(), request.form
    email, role = form.get("email", ""), form.get("role", "")
    try:
        made, token = invites.make_invite(scope, email, role, by_mail=mail.is_set_up())
    except InvalidParams as error:
        return _members_page(errors=error.errors, email=email, role=role), 422
    audit(scope, "invited", f"{made.email} as {made.role}")
    link = url_for("links.show_invite", token=token, _external=True)
    if made.by_mail:
        text = INVITE_MAIL.format(who=scope.email, company=scope.company_name, link=link)
        # Before the commit: an invitation nobody hears of is none.
        mail.send([made.email], f"Invitation to {scope.company_name}", text)
        link = ""
    db.session.commit()
    return _members_page(link=link, invited=made.email), 201


@bp.post("/members/invites/<invite_id>/withdraw")
def withdraw_invite(invite_id: str) -> Response:
    """End an invitation before it was used."""
    scope = current_scope()
    email = invites.withdraw_invite(scope.company_id, lookup_id(invite_id))
    return _go_back("invitation withdrawn", email, f"The invitation of {email} is withdrawn.")


@bp.errorhandler(Conflict)
def show_conflict(error: ReportError) -> ResponseReturnValue:
    """Show the members, and what stands against the change."""
    return _members_page(errors={"members": error.message}), error.status


@bp.post("/members/<user_id>/role")
def change_role(user_id: str) -> ResponseReturnValue:
    """Grant a member another role."""
    scope, role = current_scope(), request.form.get("role", "")
    try:
        email = members.change_role(scope.company_id, lookup_id(user_id), role).user.email
    except InvalidParams as error:
        return show_conflict(error)
    return _go_back("role granted", f"{email} as {role}", f"{email} is now {role}.")


@bp.post("/members/<user_id>/remove")
def remove(user_id: str) -> ResponseReturnValue:
    """Withdraw a member's access to the company; keys and tokens for it stop at once."""
    scope = current_scope()
    email = members.remove_member(scope.company_id, lookup_id(user_id)).email
    sentence = f"{email} has no access to {scope.company_name} any more."
    return _go_back("access withdrawn", email, sentence)


@bp.post("/members/<user_id>/password-link")
def make_password_link(user_id: str) -> ResponseReturnValue:
    """Make the link by which a member of this company alone sets a new password; shown once."""
    scope = current_scope()
    user = members.find_own_member(scope.company_id, lookup_id(user_id))
    audit(scope, "password link made", user.email)
    db.session.commit()
    link = url_for("links.show_reset", token=make_link(RESET, user), _external=True)
    return _members_page(reset_link=link, reset_for=user.email), 201


@bp.post("/members/<user_id>/second-factor")
def reset_second_factor(user_id: str) -> ResponseReturnValue:
    """Take the second factor from a member of this company alone, who has lost the app."""
    user = members.find_own_member(current_scope().company_id, lookup_id(user_id))
    second_factor.drop_second_factor(user)
    sentence = f"The second factor of {user.email} is off; the next sign-in takes the password."
    return _go_back("second factor reset", user.email, sentence)


@bp.post("/members/second-factor")
def ask_second_factor() -> ResponseReturnValue:
    """Let everybody in the company need a second factor, or choose."""
    needed = request.form.get("needed") == "true"
    company = db.session.get_one(Company, current_scope().company_id)
    company.second_factor = needed
    done = "needed" if needed else "up to everybody"
    return _go_back("second factor asked for", done, f"A second factor is {done} now.")


@bp.post("/members/zone")
def set_zone() -> ResponseReturnValue:
    """Set the time zone of the company's schedules; empty: the installation's."""
    name = request.form.get("timezone", "").strip()
    if name and name not in available_timezones():
        return _members_page(errors={"timezone": "Write a zone such as Europe/Berlin."}), 422
    company = db.session.get_one(Company, current_scope().company_id)
    company.timezone = name or None
    db.session.flush()
    zone_changed.send(company_id=company.id)
    zone = zone_of(company.id).key
    return _go_back("time zone set", zone, f"Schedules now use the time zone {zone}.")


@bp.post("/members/<user_id>/switch")
def switch_member(user_id: str) -> ResponseReturnValue:
    """Keep a member of this company alone from signing in, or let them again."""
    user = members.find_own_member(current_scope().company_id, lookup_id(user_id))
    on = request.form.get("on") == "true"
    members.switch_member(user, on=on)
    done = "switched on" if on else "switched off"
    return _go_back(f"account {done}", user.email, f"The account of {user.email} is {done}.")


@bp.post("/members/<user_id>/delete")
def delete_member(user_id: str) -> ResponseReturnValue:
    """Delete the account of a member of this company alone; what they made stays."""
    user = members.find_own_member(current_scope().company_id, lookup_id(user_id))
    sentence = f"The account of {user.email} is deleted."
    members.delete_user(user)
    return _go_back("account deleted", FORMER_MEMBER, sentence)


def _go_back(action: str, subject: str, sentence: str) -> Response:
    """Keep a change and return to the members, or home for who has just given the role away."""
    audit(current_scope(), action, subject)
    db.session.commit()
    forget_identity()
    flash(sentence)
    scope = scope_or_none()
    still_admin = scope is not None and scope.may("admin")
    return redirect_to(url_for("members.list_members") if still_admin else "/")


def _members_page(**shown: Any) -> str:
    """Return the page of members; `shown` is what was typed, what is wrong, a link just made."""
    scope = current_scope()
    return render_template(
        "accounts/members.html",
        members=shown_list(
            members.members_of(scope.company_id),
            lambda one: f"{one.user.name} {one.user.email} {one.role}",
        ),
        invites=invites.pending_invites(scope.company_id),
        roles=ROLES,
        scope=scope,
        company=db.session.get_one(Company, scope.company_id),
        **({"errors": {}, "email": "", "role": "viewer", "link": "", "invited": ""} | shown),
        own_members=members.own_members(scope.company_id),
        zones=sorted(available_timezones()),
        default_zone=current_app.config["SESSION_TIMEZONE"],
    )
