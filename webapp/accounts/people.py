"""Users and their passwords: made by the command line or an invitation, signed in, changed."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import find_or_make_company
from webapp.accounts.limits import count_try, count_wrong, forget_tries
from webapp.accounts.models import ROLES, Company, Membership, User
from webapp.accounts.passwords import (
    hash_password,
    needs_rehash,
    password_matches,
    password_problem,
)
from webapp.accounts.sessions import end_all_sessions
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.texts import as_email, storable

USER_ROLES = ("operator", *reversed(ROLES))


def create_user(
    email: str,
    company_name: str,
    role: str,
    password: str,
    *,
    first_name: str = "",
    last_name: str = "",
) -> User:
    """Return a new user with a role in the company, which is made where it does not exist yet.

    An operator runs the installation and is an admin of the company. Commits.
    Raises: InvalidParams with a sentence for email, company, role or password
    """
    address = as_email(email)
    problems = _problems(address, company_name, role, password)
    if problems or address is None:
        raise InvalidParams(problems)
    company = find_or_make_company(company_name)
    user = add_user(address, password, company, first_name=first_name, last_name=last_name)
    user.is_operator = role == "operator"
    member_role = "admin" if user.is_operator else role
    db.session.add(Membership(user_id=user.id, company_id=company.id, role=member_role))
    audit(user, "user created", f"{address} as {role}")
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        raise InvalidParams({"email": _TAKEN.format(address)}) from None
    return user


_TAKEN = "A user with the email {} already exists."


def _problems(address: str | None, company_name: str, role: str, password: str) -> dict[str, str]:
    problems = {}
    if address is None:
        problems["email"] = "Write an email address like name@example.com."
    elif find_user(address) is not None:
        problems["email"] = _TAKEN.format(address)
    name = company_name.strip()
    if not name or len(name) > 200 or not storable(name):
        problems["company"] = "Write a company name of 1 to 200 characters."
    if role not in USER_ROLES:
        problems["role"] = f"Choose a role: {', '.join(USER_ROLES)}."
    if problem := password_problem(password):
        problems["password"] = problem
    return problems


def add_user(
    email: str, password: str, company: Company, *, first_name: str = "", last_name: str = ""
) -> User:
    """Return a user added to the session, without a role yet; the caller checked and commits."""
    user = User(
        email=email,
        password_hash=hash_password(password),
        first_name=first_name.strip()[:100],
        last_name=last_name.strip()[:100],
        home_company_id=company.id,
    )
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise InvalidParams({"email": _TAKEN.format(email)}) from None
    return user


def find_user(email: str) -> User | None:
    """Return the user with that email, in any case of letters."""
    address = as_email(email)
    if address is None:
        return None
    return db.session.scalar(select(User).where(User.email == address))


def check_password(email: str, password: str) -> User | None:
    """Return the user if the password is theirs and they may sign in; as slow for an unknown one.

    The caller commits: an entry of the audit log where it is wrong, now and then a newer hash.
    Raises: TooMany
    """
    count_try(email)
    user = find_user(email)
    right = password_matches(user.password_hash if user else None, password)
    if user is None or not right or not user.is_active:
        count_wrong(email)
        if user is not None:
            audit(user, "sign-in failed")
        return None
    forget_tries(email)
    if needs_rehash(user.password_hash):
        user.password_hash = hash_password(password)
    return user


def change_password(user: User, present: str, new: str, again: str) -> None:
    """Store a new password and end every session of the user; the caller commits.

    Raises: InvalidParams with a sentence per field, TooMany
    """
    problems: dict[str, str] = {}
    if problem := password_problem(new):
        problems |= {"new_password": problem}
    elif new != again:
        problems |= {"new_password_again": "The two new passwords differ."}
    count_try(user.email)
    if password_matches(user.password_hash, present):
        forget_tries(user.email)
    else:
        count_wrong(user.email)
        problems |= {"password": "This is not your present password."}
    if problems:
        raise InvalidParams(problems)
    user.password_hash = hash_password(new)
    end_all_sessions(user)
