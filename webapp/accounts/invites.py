"""Invitations: a link for one email address into one company, good once and for a week."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from webapp.accounts.companies import Scope, find_membership
from webapp.accounts.keys import hash_secret, random_text
from webapp.accounts.models import ROLES, Invite, Membership, User
from webapp.accounts.passwords import password_problem
from webapp.accounts.people import accounts_of, add_user
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db, rows_changed
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_email, storable

GOOD_FOR = timedelta(days=7)
GONE = "This invitation does not work any more. Ask for a new one."


def make_invite(
    scope: Scope, email: str, role: str, *, by_mail: bool = False
) -> tuple[Invite, str]:
    """Return an invitation and the token of its link, which is not kept; the caller commits.

    An earlier invitation of the same address into this company ends.
    by_mail: nobody but who reads the address' mail gets to see the link
    Raises:  InvalidParams
    """
    address = as_email(email)
    problems = {}
    if address is None:
        problems["email"] = "Write an email address like name@example.com."
    elif any(find_membership(user.id, scope.company_id) for user in accounts_of(address)):
        problems["email"] = "This person is a member already. Change the role below."
    if role not in ROLES:
        problems["role"] = f"Choose a role: {', '.join(ROLES)}."
    if problems or address is None:
        raise InvalidParams(problems)
    earlier = delete(Invite).where(Invite.company_id == scope.company_id, Invite.email == address)
    db.session.execute(earlier)
    token = random_text(40)
    invite = Invite(
        token_hash=hash_secret(token),
        company_id=scope.company_id,
        email=address,
        role=role,
        invited_by=scope.user_id,
        expires_at=utcnow() + GOOD_FOR,
        by_mail=by_mail,
    )
    db.session.add(invite)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise InvalidParams({"email": "Somebody else has just invited this person."}) from None
    return invite, token


def pending_invites(company_id: str) -> list[Invite]:
    """Return the company's invitations that still work, newest first."""
    query = select(Invite).where(Invite.company_id == company_id, Invite.used_at.is_(None))
    query = query.where(Invite.expires_at > utcnow()).order_by(Invite.created_at.desc())
    return list(db.session.scalars(query))


def find_invite(token: str) -> Invite:
    """Return the invitation behind a link.

    Raises: NotFound where it is unknown, used, withdrawn or too old
    """
    query = select(Invite).where(Invite.token_hash == hash_secret(token))
    invite = db.session.scalar(query.options(joinedload(Invite.company)))
    if invite is None or invite.used_at is not None or invite.expires_at <= utcnow():
        raise NotFound(GONE)
    return invite


def withdraw_invite(company_id: str, invite_id: str) -> str:
    """Delete an invitation and return its email; the caller commits.

    Raises: NotFound
    """
    invite = db.session.get(Invite, invite_id)
    if invite is None or invite.company_id != company_id or invite.used_at is not None:
        raise NotFound("There is no such invitation.")
    db.session.delete(invite)
    return invite.email


def invites_for(user: User) -> list[Invite]:
    """Return the invitations a user may accept, newest first."""
    query = select(Invite).where(Invite.email == user.email, Invite.used_at.is_(None))
    query = query.where(Invite.expires_at > utcnow()).options(joinedload(Invite.company))
    found = db.session.scalars(query.order_by(Invite.created_at.desc()))
    return [invite for invite in found if may_join(invite, user)]


def may_join(invite: Invite, user: User) -> bool:
    """Return whether the invitation is for this account.

    An account that is not confirmed belongs to one company, so that is no way to another one.
    """
    return user.email == invite.email and user.confined_to in {None, invite.company_id}


def join_as_new_user(
    invite: Invite, password: str, again: str, *, first_name: str = "", last_name: str = ""
) -> User:
    """Return the new user, with the role they were invited to; the caller commits.

    The account works in this company alone, unless the link came by mail to an address that has no
    confirmed account.
    Raises: InvalidParams, NotFound if the link was used meanwhile
    """
    problems = {}
    if problem := password_problem(password, invite.email):
        problems["password"] = problem
    elif password != again:
        problems |= {"password_again": "The two passwords differ."}
    for field, name in (("first_name", first_name), ("last_name", last_name)):
        if len(name) > 100 or not storable(name):
            problems[field] = "Use at most 100 characters."
    accounts = accounts_of(invite.email)
    if any(account.confined_to == invite.company_id for account in accounts):
        problems["password"] = "You have an account in this company: sign in to join."
    if problems:
        raise InvalidParams(problems)
    _use_up(invite)
    has_confirmed = any(account.confined_to is None for account in accounts)
    user = add_user(
        invite.email,
        password,
        invite.company,
        first_name=first_name,
        last_name=last_name,
        confined=not invite.by_mail or has_confirmed,
    )
    db.session.add(Membership(user_id=user.id, company_id=invite.company_id, role=invite.role))
    return user


def join(invite: Invite, user: User) -> None:
    """Give the user the role they were invited to; the caller commits.

    Raises: NotFound if the link was used meanwhile or is another person's
    """
    if not may_join(invite, user):
        raise NotFound(GONE)
    _use_up(invite)
    if db.session.get(Membership, (user.id, invite.company_id)) is None:
        db.session.add(Membership(user_id=user.id, company_id=invite.company_id, role=invite.role))


def _use_up(invite: Invite) -> None:
    """Take the link, or find that somebody was quicker: of two at once only one matches a row."""
    unused = update(Invite).where(Invite.id == invite.id, Invite.used_at.is_(None))
    if rows_changed(unused.values(used_at=utcnow())) != 1:
        db.session.rollback()
        raise NotFound(GONE)
