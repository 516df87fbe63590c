"""Stretches of time that were wrong: put elsewhere or removed, with a reason, and taken back.

What was sent is not changed. Corrections are kept as a history and applied when hours are read, so
a ping that comes again changes nothing of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update

from webapp.accounts import Scope, audit
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db, rows_changed
from webapp.kinds.session_activity.bodies import NewCorrection
from webapp.kinds.session_activity.compute import Span, clipped
from webapp.kinds.session_activity.models import Computer, Correction, Login
from webapp.kinds.session_activity.names import find, find_login, mark_changed, seen
from webapp.lib.moments import utcnow

MOST_LISTED = 500


def correct(scope: Scope, new: NewCorrection) -> int:
    """Let a stretch not count, or another one in its place; return the correction's number.

    Commits. Raises: InvalidParams
    """
    who = find_login(scope, new.login, managing=True)
    place = find(db.session, Computer, scope.company_id, new.comp_name)
    wrong, right, errors = new.wrong, new.right, {}
    if who is None:
        errors["login"] = "There is no such login."
    if place is None:
        errors["comp_name"] = "There is no such computer."
    for field, span in (("end", wrong), ("new_end", right)):
        if span and span.end <= span.start:
            errors[field] = "The end must be after the start."
    if right and right.end > utcnow():
        errors["new_end"] = "Time in the future cannot be counted."
    if errors:
        raise InvalidParams(errors)
    made = Correction(
        login_id=who.id,
        computer_id=place.id,
        start_at=wrong.start,
        end_at=wrong.end,
        new_start_at=right.start if right else None,
        new_end_at=right.end if right else None,
        reason=new.reason,
        made_by=scope.email,
    )
    mark_changed(scope.company_id, [who.id])
    db.session.add(made)
    audit(scope, "corrected hours", f"{who.name} at {place.name}: {new.reason}")
    db.session.commit()
    return made.id


def list_corrections(scope: Scope, login: str = "") -> Sequence[Any]:
    """Return the corrections the caller sees, of one login where it is named, the newest first."""
    query = (
        select(
            Correction.id,
            Login.name.label("login"),
            Computer.name.label("comp_name"),
            Correction.start_at.label("start"),
            Correction.end_at.label("end"),
            Correction.new_start_at.label("new_start"),
            Correction.new_end_at.label("new_end"),
            Correction.reason,
            Correction.made_by,
            Correction.made_at,
            Correction.taken_back_by,
            Correction.taken_back_at,
        )
        .join(Login, Login.id == Correction.login_id)
        .join(Computer, Computer.id == Correction.computer_id)
        .where(Login.company_id == scope.company_id, Login.nameless_month.is_(None), seen(scope))
        .order_by(Correction.id.desc())
        .limit(MOST_LISTED)
    )
    if login:
        who = find_login(scope, login)
        query = query.where(Login.id == (who.id if who else None))
    return db.session.execute(query).all()


def take_back(scope: Scope, number: int) -> None:
    """Let a correction count no more; it stays in the history. Commits.

    Raises: NotFound
    """
    mine = select(Login.id).where(Login.company_id == scope.company_id, seen(scope, managing=True))
    # No database takes a larger number, and none gives it.
    one = (Correction.id == min(number, 2**31 - 1)) & Correction.login_id.in_(mine)
    one &= Correction.taken_back_at.is_(None)
    if login_id := db.session.scalar(select(Correction.login_id).where(one)):
        mark_changed(scope.company_id, [login_id])
    taken = update(Correction).where(one, Correction.login_id == login_id)
    if rows_changed(taken.values(taken_back_at=utcnow(), taken_back_by=scope.email)) != 1:
        db.session.rollback()
        raise NotFound("There is no such correction, or it was taken back.")
    audit(scope, "took a correction back", str(number))
    db.session.commit()


def apply_corrections(connection: Any, spans: dict[int, dict[int, list[Span]]], event: str) -> None:
    """Correct the spans of logins at computers, in place.

    event: only the session time ('') gains time by a correction; an event keeps what lies inside
    """
    query = select(
        Correction.login_id,
        Correction.computer_id,
        Correction.start_at,
        Correction.end_at,
        Correction.new_start_at,
        Correction.new_end_at,
    ).where(Correction.login_id.in_(list(spans)), Correction.taken_back_at.is_(None))
    for login_id, computer_id, start, end, new_start, new_end in connection.execute(
        query.order_by(Correction.id)
    ):
        found = spans[login_id].get(computer_id, [])
        parts = (
            part
            for span in found
            for part in (
                Span(span.start, min(span.end, start)),
                Span(max(span.start, end), span.end),
            )
        )
        kept = [part for part in parts if part.start < part.end]
        if new_start and event:
            kept += clipped(clipped(found, start, end), new_start, new_end)
        elif new_start:
            kept.append(Span(new_start, new_end))
        spans[login_id][computer_id] = kept
