"""Who belongs to a company: roles granted, changed and withdrawn; members switched off and deleted.

A company never loses its last admin.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import joinedload

from webapp.accounts.companies import membership_ended
from webapp.accounts.keys import revoke_key
from webapp.accounts.models import (
    ACTIVE,
    DELETED,
    FORMER_MEMBER,
    ROLES,
    SWITCHED_OFF,
    ApiKey,
    AuditEntry,
    Company,
    Invite,
    Membership,
    User,
)
from webapp.accounts.people import NO_PASSWORD
from webapp.accounts.second_factor import drop_second_factor
from webapp.accounts.sessions import end_all_sessions, end_program_sessions
from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.lib.mentions import replace_mentions

LAST_ADMIN = "This is the company's last admin. Make somebody else an admin first."


def members_of(company_id: str) -> list[Membership]:
    """Return everybody with a role in the company, by email."""
    query = select(Membership).join(User).where(Membership.company_id == company_id)
    loaded = joinedload(Membership.user).joinedload(User.second_factor)
    return list(db.session.scalars(query.options(loaded).order_by(User.email)))


def change_role(company_id: str, user_id: str, role: str) -> Membership:
    """Give a member another role; the caller commits.

    Raises: InvalidParams, NotFound for a stranger, Conflict for the last admin
    """
    if role not in ROLES:
        raise InvalidParams({"role": f"Choose a role: {', '.join(ROLES)}."})
    _lock_roles(company_id)
    member = find_member(company_id, user_id)
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
    member = find_member(company_id, user_id)
    user = member.user
    _end_membership(member)
    _keep_an_admin(company_id)
    return user


def _end_membership(member: Membership) -> None:
    company_id, user_id = member.company_id, member.user_id
    db.session.delete(member)
    _withdraw_invites_by(company_id, user_id)
    end_program_sessions(user_id, company_id)
    keys = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.company_id == company_id)
    for key in db.session.scalars(keys):
        revoke_key(key)
    membership_ended.send(company_id=company_id, user_id=user_id)


def own_members(company_id: str) -> set[str]:
    """Return the ids of members that belong to this company alone; operators never do.

    Its admin may let them choose a new password, switch them off and delete them.
    """
    elsewhere = select(Membership.user_id).where(Membership.company_id != company_id)
    query = select(User.id).join(Membership).where(Membership.company_id == company_id)
    query = query.where(User.is_operator.is_(False), User.id.not_in(elsewhere))
    return set(db.session.scalars(query))


def find_own_member(company_id: str, user_id: str) -> User:
    """Return a member that belongs to this company alone; raises NotFound, Conflict for others."""
    user = find_member(company_id, user_id).user
    if user_id not in own_members(company_id):
        raise Conflict("This account does not belong to your company alone; ask the operator.")
    return user


def switch_member(user: User, *, on: bool) -> None:
    """Let a user sign in, or keep them from it; sessions, tokens and keys rest. Caller commits.

    Raises: Conflict for the last admin of a company
    """
    for member in user.memberships:
        _lock_roles(member.company_id)
    user.status = ACTIVE if on else SWITCHED_OFF
    if not on:
        end_all_sessions(user)
        for member in user.memberships:
            _keep_an_admin(member.company_id)


def delete_user(user: User) -> None:
    """Forget who the user was; what they made, and that it was done, stays. The caller commits.

    The row stays for what refers to it, and nothing in it names a person any more.
    Raises: Conflict for the last admin of a company that has other members
    """
    email, companies = user.email, {user.home_company_id}
    for member in list(user.memberships):
        companies.add(member.company_id)
        _lock_roles(member.company_id)
        _end_membership(member)
        db.session.flush()
        if db.session.scalar(select(exists().where(Membership.company_id == member.company_id))):
            _keep_an_admin(member.company_id)
    entries: Any = AuditEntry.__table__
    in_theirs = entries.c.company_id.in_(companies)
    subjects = [entries.c.subject]
    replace_mentions(db.session, entries, subjects, email, lambda _: FORMER_MEMBER, in_theirs)
    theirs = delete(Invite).where(Invite.email == email, Invite.company_id.in_(companies))
    db.session.execute(theirs)
    drop_second_factor(user)
    user.provider_subject = None
    user.email = f"{user.id}@deleted.invalid"
    user.first_name = user.last_name = ""
    user.password_hash = NO_PASSWORD
    user.confined_to = user.home_company_id
    user.is_operator = False
    user.status = DELETED


def find_member(company_id: str, user_id: str) -> Membership:
    """Return somebody's membership of the company; raises NotFound."""
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
    """Roll back and raise Conflict where a company would have members and no admin to act."""
    db.session.flush()
    here = select(func.count()).select_from(Membership).where(Membership.company_id == company_id)
    active = here.join(User).where(Membership.role == "admin", User.status == ACTIVE)
    if not db.session.scalar(active):
        db.session.rollback()
        raise Conflict(LAST_ADMIN)


def _withdraw_invites_by(company_id: str, user_id: str) -> None:
    theirs = delete(Invite).where(Invite.company_id == company_id, Invite.invited_by == user_id)
    db.session.execute(theirs)
