"""Who asked for a report, as lists and heads show it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from webapp.accounts import User
from webapp.engine.models import Report
from webapp.extensions import db


def emails_of(reports: Iterable[Report]) -> dict[str, str]:
    """Return the requesters' email addresses by user id, in one query."""
    ids = {report.requested_by for report in reports}
    if not ids:
        return {}
    users = db.session.scalars(select(User).where(User.id.in_(ids)))
    return {user.id: user.shown_email for user in users}
