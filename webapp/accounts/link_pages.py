"""Pages behind links: invitations, a forgotten password, the confirmation of an address."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    make_response,
    render_template,
    request,
    url_for,
)
from flask.ctx import AppContext
from flask.typing import ResponseReturnValue
from itsdangerous import BadData, URLSafeTimedSerializer

from webapp import mail
from webapp.accounts import invites, people
from webapp.accounts.audit_log import audit
from webapp.accounts.identity import Identity, identity, require_access, signed_in, to_sign_in
from webapp.accounts.limits import count_request
from webapp.accounts.models import Invite, User
from webapp.accounts.pages import begin_session, renew_session
from webapp.errors import Conflict, InvalidParams, NotFound, Unavailable
from webapp.extensions import db
from webapp.htmx import redirect_to
from webapp.lib.texts import lookup_id
from webapp.security import fingerprint, signing_keys

bp = Blueprint("links", __name__)

RESET_MAIL = """Someone asked for a new password on {site}.

Choose it here, within a day:
{link}

If it was not you, do nothing: your password stays as it is.
"""
CONFIRM_MAIL = """Confirm that you read the mail of this address, on {site}:
{link}

Until then your account works in one company only.
"""


@bp.get("/invite/<token>")
def show_invite(token: str) -> str:
    """Show what the invitation is for and what its reader can do with it."""
    return _invite_page(invites.find_invite(token), {})


@bp.post("/invite/<token>")
def accept_invite(token: str) -> ResponseReturnValue:
    """Join the company: as the user who is signed in, or as a new one with a password."""
    invite, form, who = invites.find_invite(token), request.form, identity()
    if who is not None:
        may_join = invites.may_join(invite, who.user)
        return _join(invite, who) if may_join else _invite_page(invite, {})
    try:
        user = invites.join_as_new_user(
            invite,
            form.get("password", ""),
            form.get("password_again", ""),
            first_name=form.get("first_name", ""),
            last_name=form.get("last_name", ""),
        )
    except InvalidParams as error:
        return _invite_page(invite, error.errors), 422
    return _welcome(invite, user, partial(begin_session, user))


def _invite_page(invite: Invite, errors: dict[str, str]) -> str:
    """Return the page; it does not tell whether the address has an account."""
    who = identity()
    return render_template(
        "accounts/invite.html",
        invite=invite,
        user=who.user if who else None,
        may_join=who is not None and invites.may_join(invite, who.user),
        here=request.script_root + request.path,
        errors=errors,
        first_name=request.form.get("first_name", ""),
        last_name=request.form.get("last_name", ""),
    )


@bp.get("/invitations")
def list_invitations() -> ResponseReturnValue:
    """Show the invitations of who is signed in, above all to who has no company."""
    who = identity()
    if who is None:
        return to_sign_in()
    found = invites.invites_for(who.user)
    return render_template("accounts/invitations.html", user=who.user, invites=found)


@bp.post("/invitations/<invite_id>/join")
def join_by_invitation(invite_id: str) -> Response:
    """Join a company with an invitation from one's own list."""
    who = identity()
    if who is None:
        return to_sign_in()
    invite = db.session.get(Invite, lookup_id(invite_id))
    if invite is None or invite not in invites.invites_for(who.user):
        raise NotFound(invites.GONE)
    return _join(invite, who)


def _join(invite: Invite, who: Identity) -> Response:
    invites.join(invite, who.user)
    return _welcome(invite, who.user, partial(renew_session, who))


def _welcome(invite: Invite, user: User, begin: Callable[[str], None]) -> Response:
    company_id, company_name = invite.company_id, invite.company.name
    audit(user, "joined", f"as {invite.role}", company_id=company_id)
    begin(company_id)
    flash(f"Welcome to {company_name}.")
    return redirect_to("/")


@bp.get("/forgot")
def show_forgotten() -> str:
    """Show how to get a new password: by mail, or by whom to ask where there is no mail."""
    return render_template("accounts/forgot.html", by_mail=mail.is_set_up())


@bp.post("/forgot")
def ask_for_password() -> ResponseReturnValue:
    """Send a link to the address; the answer is the same whether it has an account."""
    if not mail.is_set_up():
        return show_forgotten()
    email, site = request.form.get("email", ""), request.host
    count_request(email)
    mails = []
    for user in people.accounts_of(email):
        # Who signs in by a provider alone goes when it says so: a password would outlive that.
        if user.is_active and user.password_hash != people.NO_PASSWORD:
            link = url_for("links.show_reset", token=make_link(RESET, user), _external=True)
            mails.append((user.email, RESET_MAIL.format(site=site, link=link)))
            audit(user, "password link sent")
    db.session.commit()
    response = make_response(render_template("accounts/forgot.html", by_mail=True, sent=True))
    # After the answer, which else would take longer for an address that has an account.
    context = current_app.app_context()
    response.call_on_close(lambda: _send_all(context, mails))
    return response


def _send_all(context: AppContext, mails: list[tuple[str, str]]) -> None:
    with context:
        for address, text in mails:
            # What went wrong is in the log; who asked was told nothing of accounts, and asks again.
            with suppress(Unavailable):
                mail.send([address], "A new password", text)


@bp.route("/reset/<token>", methods=["GET", "POST"])
def show_reset(token: str) -> ResponseReturnValue:
    """Show the form for a new password, or store it; all sessions and tokens end."""
    user, form = read_link(RESET, token), request.form
    errors: dict[str, str] = {}
    if request.method == "POST":
        new, again = form.get("new_password", ""), form.get("new_password_again", "")
        try:
            people.set_password(user, new, again)
        except InvalidParams as error:
            errors = error.errors
        else:
            audit(user, "password set by link")
            db.session.commit()
            flash("Your password is set. Sign in with it.")
            return redirect_to(url_for("accounts.login"))
    page = render_template("accounts/reset.html", user=user, token=token, errors=errors)
    return page, 422 if errors else 200


@bp.post("/account/confirm")
def ask_to_confirm() -> Response:
    """Send the link that confirms one's address."""
    if answer := require_access():
        return answer
    user = signed_in().user
    if not mail.is_set_up():
        raise Conflict("No mail is sent here: the operator confirms addresses.")
    count_request(user.email)
    link = url_for("links.confirm", token=make_link(CONFIRM, user), _external=True)
    text = CONFIRM_MAIL.format(site=request.host, link=link)
    mail.send([user.email], "Confirm your address", text)
    flash(f"A mail has been sent to {user.email}.")
    return redirect_to(url_for("accounts.show_account"))


@bp.route("/confirm/<token>", methods=["GET", "POST"])
def confirm(token: str) -> ResponseReturnValue:
    """Ask for one click, which no mail scanner makes, and let the account work everywhere."""
    user = read_link(CONFIRM, token)
    if request.method == "GET":
        return render_template("accounts/confirm.html", user=user, token=token)
    people.confirm_address(user)
    db.session.commit()
    flash(f"{user.email} is confirmed.")
    return redirect_to(url_for("links.list_invitations"))


RESET, CONFIRM = "set a password", "confirm an address"
GOOD_FOR_S = {RESET: 24 * 3600, CONFIRM: 7 * 24 * 3600}
GONE = "This link does not work any more. Ask for a new one."


def make_link(purpose: str, user: User) -> str:
    """Return the token of a link for a user."""
    return _signer(purpose).dumps([user.id, _state(user)])


def read_link(purpose: str, token: str) -> User:
    """Return the user a link is for; raises NotFound where it is old, used or not ours."""
    try:
        user_id, state = _signer(purpose).loads(token, max_age=GOOD_FOR_S[purpose])
    except (BadData, ValueError):
        raise NotFound(GONE) from None
    user = db.session.get(User, lookup_id(user_id))
    if user is None or not user.is_active or state != _state(user):
        raise NotFound(GONE)
    return user


def _state(user: User) -> str:
    """Return what changes with the password, its sessions, the address and its confirmation."""
    parts = (user.password_hash, str(user.session_epoch), user.email, user.confined_to or "")
    return fingerprint("\n".join(parts))[:32]


def _signer(purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(signing_keys("account links"), salt=purpose)
