"""Users and their passwords: made, found, signed in, confirmed.

An account made through an invitation is confined to the company that invited until its address is
confirmed, by mail or by the operator: who makes a link for somebody's address could open it alone.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from webapp.accounts.audit_log import audit
from webapp.accounts.companies import companies_of, find_or_make_company
from webapp.accounts.limits import count_try, count_wrong, forget_tries
from webapp.accounts.models import ROLES, Company, Membership, User
from webapp.accounts.passwords import (
    hash_password,
    needs_rehash,
    password_matches,
    password_problem,
)
from webapp.accounts.sessions import end_all_sessions
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db
from webapp.lib.texts import as_email, storable

USER_ROLES = ("operator", *reversed(ROLES))
# Stands where a hash would, and matches nothing.
NO_PASSWORD = "!"
TAKEN = "A user with the email {} already exists."


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
    address, name = as_email(email), company_name.strip()
    problems = {}
    if address is None:
        problems["email"] = "Write an email address like name@example.com."
    elif any(account.confined_to is None for account in accounts_of(address)):
        problems["email"] = TAKEN.format(address)
    if not name or len(name) > 200 or not storable(name):
        problems["company"] = "Write a company name of 1 to 200 characters."
    if role not in USER_ROLES:
        problems["role"] = f"Choose a role: {', '.join(USER_ROLES)}."
    if problem := password_problem(password, address or ""):
        problems["password"] = problem
    if problems or address is None:
        raise InvalidParams(problems)
    company = find_or_make_company(company_name)
    user = add_user(address, password, company, first_name=first_name, last_name=last_name)
    user.is_operator = role == "operator"
    member_role = "admin" if user.is_operator else role
    db.session.add(Membership(user_id=user.id, company_id=company.id, role=member_role))
    audit(user, "user created", f"{address} as {role}")
    db.session.commit()
    return user


def add_user(
    email: str,
    password: str | None,
    company: Company,
    *,
    first_name: str = "",
    last_name: str = "",
    confined: bool = False,
) -> User:
    """Return a user added to the session, without a role yet; the caller checked and commits.

    password: None for who signs in by a provider alone
    Raises: InvalidParams where the address has such an account already
    """
    user = User(
        email=email,
        password_hash=hash_password(password) if password is not None else NO_PASSWORD,
        first_name=first_name.strip()[:100],
        last_name=last_name.strip()[:100],
        home_company_id=company.id,
        confined_to=company.id if confined else None,
    )
    db.session.add(user)
    try:
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        raise InvalidParams({"email": TAKEN.format(email)}) from None
    return user


def accounts_of(email: str) -> list[User]:
    """Return all accounts of an address, in any case of letters, the confirmed one first."""
    address = as_email(email)
    if address is None:
        return []
    query = select(User).where(User.email == address)
    return list(db.session.scalars(query.order_by(User.confined_to.is_not(None), User.created_at)))


def find_user(email: str, company: Company | None = None) -> User | None:
    """Return the user with that email: the confirmed account, or else the oldest.

    company: only an account with a role in it
    """
    found = accounts_of(email)
    if company is not None:
        found = [user for user in found if company in companies_of(user)]
    return next(iter(found), None)


def check_password(email: str, password: str) -> User | None:
    """Return the user if the password is theirs and they may sign in; as slow for an unknown one.

    The caller commits: an entry of the audit log where it is wrong, now and then a newer hash.
    Raises: TooMany
    """
    count_try(email)
    users = accounts_of(email)
    for user in users:
        if password_matches(user.password_hash, password) and user.is_active:
            forget_tries(email)
            if needs_rehash(user.password_hash):
                user.password_hash = hash_password(password)
            return user
    if not users:
        password_matches(None, password)
    count_wrong(email)
    for user in users:
        audit(user, "sign-in failed")
    return None


def change_password(user: User, present: str, new: str, again: str) -> None:
    """Store a new password and end every session of the user; the caller commits.

    Raises: InvalidParams with a sentence per field, TooMany
    """
    count_try(user.email)
    if not password_matches(user.password_hash, present):
        count_wrong(user.email)
        problems = {"password": "This is not your present password."}
        raise InvalidParams(_new_password_problems(user.email, new, again) | problems)
    forget_tries(user.email)
    set_password(user, new, again)


def set_password(user: User, new: str, again: str) -> None:
    """Store the password of somebody who forgot theirs, and end every session; the caller commits.

    Raises: InvalidParams with a sentence per field
    """
    if problems := _new_password_problems(user.email, new, again):
        raise InvalidParams(problems)
    user.password_hash = hash_password(new)
    end_all_sessions(user)
    forget_tries(user.email)


def _new_password_problems(email: str, new: str, again: str) -> dict[str, str]:
    if problem := password_problem(new, email):
        return {"new_password": problem}
    return {} if new == again else {"new_password_again": "The two new passwords differ."}


def confirm_address(user: User) -> None:
    """Let the account work in other companies: its owner reads the address' mail. Caller commits.

    Raises: Conflict where another account of the address was confirmed before
    """
    if user.confined_to is None:
        return
    if any(other.confined_to is None for other in accounts_of(user.email)):
        raise Conflict("Another account of this address is confirmed already; use that one.")
    user.confined_to = None
    audit(user, "address confirmed", user.email)
