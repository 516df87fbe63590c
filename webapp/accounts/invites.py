"""Invitations: a link for one email address into one company, good once and for a week."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from webapp.accounts.identity import Scope
from webapp.accounts.keys import hash_secret, random_text
from webapp.accounts.models import ROLES, Invite, Membership, User
from webapp.accounts.passwords import password_problem
from webapp.accounts.people import add_user, find_user
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_email, storable

GOOD_FOR = timedelta(days=7)
GONE = "This invitation does not work any more. Ask for a new one."


def make_invite(scope: Scope, email: str, role: str) -> tuple[Invite, str]:
    """Return an invitation and the token of its link, which is not kept; the caller commits.

    An earlier invitation of the same address into this company ends.
    Raises: InvalidParams
    """
    address = as_email(email)
    problems = {}
    if address is None:
        problems["email"] = "Write an email address like name@example.com."
    elif _is_member(address, scope.company_id):
        problems["email"] = "This person is a member already. Change the role below."
    if role not in ROLES:
        problems["role"] = f"Choose a role: {', '.join(ROLES)}."
    if problems or address is None:
        raise InvalidParams(problems)
    _forget(scope.company_id, address)
    token = random_text(40)
    invite = Invite(
        token_hash=hash_secret(token),
        company_id=scope.company_id,
        email=address,
        role=role,
        invited_by=scope.user_id,
        expires_at=utcnow() + GOOD_FOR,
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


def join_as_new_user(
    invite: Invite, password: str, again: str, *, first_name: str = "", last_name: str = ""
) -> User:
    """Return the new user, with the role they were invited to; the caller commits.

    Raises: InvalidParams, NotFound if the link was used meanwhile
    """
    problems = {}
    if problem := password_problem(password):
        problems["password"] = problem
    elif password != again:
        problems |= {"password_again": "The two passwords differ."}
    for field, name in (("first_name", first_name), ("last_name", last_name)):
        if len(name) > 100 or not storable(name):
            problems[field] = "Use at most 100 characters."
    if problems:
        raise InvalidParams(problems)
    _use(invite)
    names = {"first_name": first_name, "last_name": last_name}
    user = add_user(invite.email, password, invite.company, **names)
    db.session.add(Membership(user_id=user.id, company_id=invite.company_id, role=invite.role))
    return user


def join(invite: Invite, user: User) -> None:
    """Give the user the role they were invited to; the caller commits.

    Raises: NotFound if the link was used meanwhile or is another person's
    """
    if user.email != invite.email:
        raise NotFound(GONE)
    _use(invite)
    member = db.session.get(Membership, (user.id, invite.company_id))
    if member is None:
        member = Membership(user_id=user.id, company_id=invite.company_id, role=invite.role)
        db.session.add(member)


def _use(invite: Invite) -> None:
    """Take the link, or find that somebody was quicker: of two at once only one matches a row."""
    unused = update(Invite).where(Invite.id == invite.id, Invite.used_at.is_(None))
    if db.session.execute(unused.values(used_at=utcnow())).rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        raise NotFound(GONE)


def _forget(company_id: str, email: str) -> None:
    old = delete(Invite).where(Invite.company_id == company_id, Invite.email == email)
    db.session.execute(old)


def _is_member(email: str, company_id: str) -> bool:
    user = find_user(email)
    return user is not None and db.session.get(Membership, (user.id, company_id)) is not None
