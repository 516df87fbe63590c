"""Companies: found by name whatever its case, made on first use, and where a user works."""

from __future__ import annotations

from sqlalchemy import select

from webapp.accounts.models import Company, Membership, User
from webapp.extensions import db


def find_company(name: str) -> Company | None:
    """Return the company of that name, in any case of letters."""
    return db.session.scalar(select(Company).where(Company.name_key == name_key(name)))


def find_or_make_company(name: str) -> Company:
    """Return the company of that name, added to the session where it is new."""
    company = find_company(name)
    if company is None:
        company = Company(name=" ".join(name.split()), name_key=name_key(name))
        db.session.add(company)
        db.session.flush()
    return company


def name_key(name: str) -> str:
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
