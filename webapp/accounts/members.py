"""Roles in a company: granted, changed, withdrawn. A company never loses its last admin."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import joinedload

from webapp.accounts.keys import revoke_key
from webapp.accounts.models import ROLES, ApiKey, Company, Invite, Membership, User
from webapp.accounts.sessions import end_program_sessions
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db

LAST_ADMIN = "This is the company's last admin. Make somebody else an admin first."


def members_of(company_id: str) -> list[Membership]:
    """Return everybody with a role in the company, by email."""
    query = select(Membership).join(User).where(Membership.company_id == company_id)
    return list(db.session.scalars(query.options(joinedload(Membership.user)).order_by(User.email)))


def grant(user: User, company: Company, role: str) -> Membership:
    """Return the user's membership of the company, made or changed to the role. Commits.

    Raises: InvalidParams for an unknown role, Conflict for a company's last admin
    """
    _check(role)
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
    _check(role)
    _lock(company_id)
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
    _lock(company_id)
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


def _check(role: str) -> None:
    if role not in ROLES:
        raise InvalidParams({"role": f"Choose a role: {', '.join(ROLES)}."})


def _member(company_id: str, user_id: str) -> Membership:
    member = db.session.get(Membership, (user_id, company_id), populate_existing=True)
    if member is None:
        raise NotFound("There is no such member.")
    return member


def _lock(company_id: str) -> None:
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
