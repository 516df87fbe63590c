"""The audit log: who signed in, ran, downloaded, granted, revoked. Never a secret in it."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypedDict, Unpack

from flask import has_request_context, request
from sqlalchemy import delete, func, select

from webapp.accounts.companies import Scope
from webapp.accounts.models import AuditEntry, User
from webapp.extensions import db
from webapp.lib.keyset import cut, one_page

BATCH = 1000
# How far back the choices of actions look: a company does much the same all year.
LATEST = 5000


class AuditAsked(TypedDict, total=False):
    """What is asked of the log; what is None or empty asks for nothing.

    since, until: days (UTC), both included
    words:        stand in the subject, in any case
    """

    person: str | None
    action: str | None
    since: date | None
    until: date | None
    words: str


def audit(
    who: Scope | User | str | None, action: str, subject: str = "", *, company_id: str = ""
) -> None:
    """Add an entry to the session: it is kept if, and only if, the caller commits its change.

    who: a user's id with the company beside it, too; None for a command on the machine itself, and
         in a request for somebody without an account
    """
    user_id: str | None
    if who is None or isinstance(who, str):
        user_id, company = who, company_id
    elif isinstance(who, User):
        user_id, company = who.id, company_id or who.home_company_id
    else:
        user_id, company = who.user_id, company_id or who.company_id
    address = (request.remote_addr or "") if has_request_context() else ""
    if who is None and not address:
        try:
            address = f"command line: {getpass.getuser()}"
        except (OSError, KeyError):
            address = "command line: unknown"
    db.session.add(
        AuditEntry(
            company_id=company,
            user_id=user_id,
            action=action[:40],
            subject=subject[:300],
            address=address[:64],
        )
    )


def read_entries(
    company_id: str, *, before: int | None = None, limit: int = 100, **asked: Unpack[AuditAsked]
) -> tuple[list[AuditEntry], bool]:
    """Return a company's entries, newest first, and whether more are older than these.

    before: the entry that the page before ended with
    """
    query = select(AuditEntry).where(AuditEntry.company_id == company_id, *_entry_conditions(asked))
    after = None if before is None else (before,)
    query = one_page(query, (AuditEntry.id,), after, limit, newest_first=True)
    return cut(db.session.scalars(query).all(), limit)


def all_entries(company_id: str, **asked: Unpack[AuditAsked]) -> Iterator[list[AuditEntry]]:
    """Yield all entries that are asked for, newest first, some hundred at a time."""
    before, more = None, True
    while more:
        entries, more = read_entries(company_id, before=before, limit=BATCH, **asked)
        yield entries
        before = entries[-1].id if entries else None


def _entry_conditions(asked: AuditAsked) -> list[Any]:
    found: list[Any] = []
    if person := asked.get("person"):
        found.append(AuditEntry.user_id == person)
    if action := asked.get("action"):
        found.append(AuditEntry.action == action)
    if since := asked.get("since"):
        found.append(AuditEntry.at >= datetime.combine(since, time(), UTC))
    if (until := asked.get("until")) and until < date.max:
        found.append(AuditEntry.at < datetime.combine(until + timedelta(days=1), time(), UTC))
    if words := asked.get("words"):
        found.append(func.lower(AuditEntry.subject).contains(words.lower(), autoescape=True))
    return found


def latest_actions(company_id: str) -> list[str]:
    """Return what was done in a company of late, in the order of the alphabet."""
    latest = select(AuditEntry.action).where(AuditEntry.company_id == company_id)
    latest_of = latest.order_by(AuditEntry.id.desc()).limit(LATEST).subquery()
    return sorted(db.session.scalars(select(latest_of.c.action).distinct()))


def drop_old_entries(before: datetime) -> int:
    """Delete entries written before a moment; return how many. Commits, a batch at a time.

    The oldest have the lowest ids, so that what is kept is not read, however much it is.
    """
    oldest = select(AuditEntry.id, AuditEntry.at).order_by(AuditEntry.id).limit(BATCH)
    gone = 0
    while expired := [row.id for row in db.session.execute(oldest) if row.at < before]:
        db.session.execute(delete(AuditEntry).where(AuditEntry.id.in_(expired)))
        db.session.commit()
        gone += len(expired)
    db.session.commit()
    return gone
