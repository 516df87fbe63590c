"""Companies, and what a user may do in one of them: the `Scope` every room asks for."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from blinker import Namespace
from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from webapp.accounts.models import ROLES, Company, Membership, User
from webapp.errors import InvalidParams
from webapp.extensions import db

# Sent where somebody's access to a company ends, before the commit, with company_id and user_id:
# rooms whose own roles end with it listen.
membership_ended = Namespace().signal("membership-ended")
# Sent where a company tells another time from now on, before the commit, with company_id.
zone_changed = Namespace().signal("zone-changed")
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True)
class Scope:
    """What this caller may see and do: one user, in one company, with the role held there.

    needs_second_factor: the company asks for one, and the user has none
    """

    user_id: str
    company_id: str
    company_name: str
    email: str
    role: str
    is_operator: bool
    needs_second_factor: bool = False

    def may(self, role: str) -> bool:
        """Return whether the caller may do what `viewer`, `expert`, `admin` or `operator` may."""
        if role == "operator":
            return self.is_operator
        return _RANK.get(self.role, -1) >= _RANK[role]


def scope_of(user: User, company_id: str) -> Scope | None:
    """Return the user's scope in a company, None where they have no role there."""
    member = find_membership(user.id, company_id)
    if member is None or user.confined_to not in {None, company_id}:
        return None
    return Scope(
        user_id=user.id,
        company_id=company_id,
        company_name=member.company.name,
        email=user.email,
        role=member.role,
        is_operator=user.is_operator,
        needs_second_factor=member.company.second_factor and user.second_factor is None,
    )


def zone_of(company_id: str) -> ZoneInfo:
    """Return where a company's schedules tell the time."""
    own = db.session.scalar(select(Company.timezone).where(Company.id == company_id))
    return ZoneInfo(own or current_app.config["SESSION_TIMEZONE"])


def find_membership(user_id: str, company_id: str) -> Membership | None:
    """Return the user's membership of the company, with the company."""
    query = select(Membership).options(joinedload(Membership.company))
    query = query.where(Membership.user_id == user_id, Membership.company_id == company_id)
    return db.session.scalar(query)


def find_company(name: str) -> Company | None:
    """Return the company of that name, in any case of letters."""
    return db.session.scalar(select(Company).where(Company.name_key == _name_key(name)))


def named_company(name: str) -> Company:
    """Return the company a command names; raises InvalidParams where there is none."""
    found = find_company(name)
    if found is None:
        raise InvalidParams({"company": f"There is no company {name}."})
    return found


def find_or_make_company(name: str) -> Company:
    """Return the company of that name, added to the session where it is new."""
    company = find_company(name)
    if company is None:
        company = Company(name=" ".join(name.split()), name_key=_name_key(name))
        db.session.add(company)
        db.session.flush()
    return company


def _name_key(name: str) -> str:
    """Return the name as it is compared: folded, with single spaces."""
    return " ".join(name.split()).casefold()


def companies_of(user: User) -> list[Company]:
    """Return the companies the user has a role in, by name."""
    query = select(Company).join(Membership, Membership.company_id == Company.id)
    query = query.where(Membership.user_id == user.id).order_by(Company.name_key)
    return list(db.session.scalars(query))


def default_company(user: User) -> str | None:
    """Return the company a sign-in begins in: the last one used, home, or the first by name."""
    return _first_choice(user, user.last_company_id, user.home_company_id)


def key_company(user: User) -> str:
    """Return the company a key is for where none is named: home, or else the first by name."""
    return _first_choice(user, user.home_company_id) or user.home_company_id


def _first_choice(user: User, *wanted: str | None) -> str | None:
    mine = [company.id for company in companies_of(user)]
    return next((choice for choice in (*wanted, *mine) if choice in mine), None)
