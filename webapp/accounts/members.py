"""Who belongs to a company: roles granted, changed and withdrawn, and invitations.

A company never loses its last admin. An invitation is a link for one email address into one
company, good once and for a week.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from webapp.accounts.companies import Scope
from webapp.accounts.keys import hash_secret, random_text, revoke_key
from webapp.accounts.models import ROLES, ApiKey, Company, Invite, Membership, User
from webapp.accounts.passwords import password_problem
from webapp.accounts.people import add_user, find_user
from webapp.accounts.sessions import end_program_sessions
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.texts import as_email, storable

LAST_ADMIN = "This is the company's last admin. Make somebody else an admin first."
GOOD_FOR = timedelta(days=7)
GONE = "This invitation does not work any more. Ask for a new one."


def members_of(company_id: str) -> list[Membership]:
    """Return everybody with a role in the company, by email."""
    query = select(Membership).join(User).where(Membership.company_id == company_id)
    return list(db.session.scalars(query.options(joinedload(Membership.user)).order_by(User.email)))


def grant(user: User, company: Company, role: str) -> Membership:
    """Return the user's membership of the company, made or changed to the role. Commits.

    Raises: InvalidParams for an unknown role, Conflict for a company's last admin
    """
    _check_role(role)
    member = db.session.get(Membership, (user.id, company.id))
    if member is None:
        member = Membership(user_id=user.id, company_id=company.id, role=role)
        db.session.add(member)
    else:
        change_role(company.id, user.id, role)
    db.session.commit()
    return member


def change_role(company_id: str, user_id: str, role: str) -> Membership:
    """Give a member another role; the caller commits.

    Raises: InvalidParams, NotFound for a stranger, Conflict for the last admin
    """
    _check_role(role)
    _lock_roles(company_id)
    member = _member(company_id, user_id)
    member.role = role
    _keep_an_admin(company_id)
    if role != "admin":
        _withdraw_invites_by(company_id, user_id)
    return member


def remove_member(company_id: str, user_id: str) -> User:
    """Withdraw a member's access, with keys and tokens for this company; the caller commits.

    Raises: NotFound for a stranger, Conflict for the last admin
    """
    _lock_roles(company_id)
    member = _member(company_id, user_id)
    user = member.user
    db.session.delete(member)
    _keep_an_admin(company_id)
    _withdraw_invites_by(company_id, user_id)
    end_program_sessions(user_id, company_id)
    keys = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.company_id == company_id)
    for key in db.session.scalars(keys):
        revoke_key(key)
    return user


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidParams({"role": f"Choose a role: {', '.join(ROLES)}."})


def _member(company_id: str, user_id: str) -> Membership:
    member = db.session.get(Membership, (user_id, company_id), populate_existing=True)
    if member is None:
        raise NotFound("There is no such member.")
    return member


def _lock_roles(company_id: str) -> None:
    """Let one change of roles in a company pass at a time.

    A write, because SQLite has no row locks: two admins who demote each other would else both see
    the other one as the admin who stays.
    """
    company = update(Company).where(Company.id == company_id)
    db.session.execute(company.values(name=Company.name))


def _keep_an_admin(company_id: str) -> None:
    db.session.flush()
    admins = select(func.count()).select_from(Membership)
    admins = admins.where(Membership.company_id == company_id, Membership.role == "admin")
    if not db.session.scalar(admins):
        db.session.rollback()
        raise Conflict(LAST_ADMIN)


def _withdraw_invites_by(company_id: str, user_id: str) -> None:
    db.session.execute(
        delete(Invite).where(Invite.company_id == company_id, Invite.invited_by == user_id)
    )


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
    _use_up(invite)
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
    _use_up(invite)
    member = db.session.get(Membership, (user.id, invite.company_id))
    if member is None:
        member = Membership(user_id=user.id, company_id=invite.company_id, role=invite.role)
        db.session.add(member)


def _use_up(invite: Invite) -> None:
    """Take the link, or find that somebody was quicker: of two at once only one matches a row."""
    unused = update(Invite).where(Invite.id == invite.id, Invite.used_at.is_(None))
    if db.session.execute(unused.values(used_at=utcnow())).rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        raise NotFound(GONE)


def _is_member(email: str, company_id: str) -> bool:
    user = find_user(email)
    return user is not None and db.session.get(Membership, (user.id, company_id)) is not None
