"""Sessions that are older than they are kept: they go with their hours and their clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from flask import current_app
from sqlalchemy import delete, func, select

from webapp.extensions import db
from webapp.kinds.session_activity.compute import day_start
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import (
    ClockAhead,
    ClockOffset,
    Correction,
    Segment,
    Session,
)
from webapp.kinds.session_activity.segments import ends_day

SESSIONS_PER_STEP = 500


def forget_sessions(month: date) -> Iterator[int]:
    """Delete sessions that ended before a month, and corrections of then; yield step by step."""
    start = day_start(month, zone_of(current_app))
    old = select(Session.number).where(Session.ends_day <= ends_day(start), Session.ends_at < start)
    while numbers := db.session.scalars(old.limit(SESSIONS_PER_STEP)).all():
        theirs = (model.session_number for model in (ClockAhead, ClockOffset, Segment))
        for key in (*theirs, Session.number):
            db.session.execute(delete(key.class_).where(key.in_(numbers)))
        db.session.commit()
        yield len(numbers)
    # A stretch that was put elsewhere counts where it was put.
    counted = func.coalesce(Correction.new_end_at, Correction.end_at)
    db.session.execute(delete(Correction).where(Correction.end_at < start, counted < start))
    db.session.commit()
