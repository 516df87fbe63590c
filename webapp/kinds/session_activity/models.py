"""Tables of session activity: logins, computers, sessions, segments of time, clocks found ahead.

Segments hold the pings, joined: within a session and an event no two are closer than the grace.
They are never cut, at midnight or elsewhere. Each ping counts for its session (event '') and, where
it names an event, for that event too.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, UniqueConstraint, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import Model, UtcDateTime
from webapp.lib.moments import utcnow

SLUG = "session-activity"
# SQLite numbers rows by itself only where the key is exactly INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")
LOGIN_LENGTH, COMPUTER_LENGTH, EVENT_LENGTH, ID_LENGTH = 50, 30, 50, 64
ADDRESS_LENGTH = 64
# A ping changes its rows in place; the room left in each page keeps indexes out of it.
ROOMY = {"postgresql_with": {"fillfactor": 80}}


class Login(Model):
    """Somebody whose time is counted; no account of ours.

    longest_days: no segment of this login is longer, which bounds where a month's may start
    late_at:      when a late ping last changed a month that was over
    """

    __tablename__ = "session_activity_login"
    __table_args__ = (UniqueConstraint("company_id", "name"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    company_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("company.id"))
    name: Mapped[str] = mapped_column(String(LOGIN_LENGTH))
    longest_days: Mapped[int] = mapped_column(Integer, default=1)
    late_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Computer(Model):
    """A computer of the domain.

    corrects_clock: hours of its sessions whose pings all came with the same lag are read as if its
                    clock were right; pings stay as they were sent, so it can be taken back
    """

    __tablename__ = "session_activity_computer"
    __table_args__ = (UniqueConstraint("company_id", "name"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    company_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("company.id"))
    name: Mapped[str] = mapped_column(String(COMPUTER_LENGTH))
    corrects_clock: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Session(Model):
    """A login at a computer. `id` is the computer's own, unique in its company.

    ip_addr: as the computer says it; an IP address in its one spelling, or any text
    started_at: when it began, on our clock where theirs is ahead
    last_at, ends_at: the newest ping and the end it promises, on our clock where theirs is ahead
    lag_s:    by how much the newest single ping came after its own time (seconds); None: not known
    lag_low_s, lag_high_s, lag_pings: the least and the most of them, and of how many pings
    ends_day: the day of `ends_at`, in days since 1970 UTC. It is the part of the end that is
              indexed, because it changes once a day and not with every ping.
    """

    __tablename__ = "session_activity_session"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        Index("ix_session_activity_session_online", "company_id", "ends_day"),
        Index("ix_session_activity_session_login", "login_id", "ends_day"),
        ROOMY,
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    company_id: Mapped[str] = mapped_column(Uuid(as_uuid=False), ForeignKey("company.id"))
    id: Mapped[str] = mapped_column(String(ID_LENGTH))
    login_id: Mapped[int] = mapped_column(Number, ForeignKey("session_activity_login.id"))
    computer_id: Mapped[int] = mapped_column(Number, ForeignKey("session_activity_computer.id"))
    ip_addr: Mapped[str] = mapped_column(String(ADDRESS_LENGTH), default="")
    next_ping_sec: Mapped[int] = mapped_column(Integer)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_day: Mapped[int] = mapped_column(Integer)
    lag_s: Mapped[int | None] = mapped_column(Integer)
    lag_low_s: Mapped[int | None] = mapped_column(Integer)
    lag_high_s: Mapped[int | None] = mapped_column(Integer)
    lag_pings: Mapped[int] = mapped_column(Integer, default=0)


class Segment(Model):
    """A stretch of time credited to a session and an event ('' for the session itself)."""

    __tablename__ = "session_activity_segment"
    __table_args__ = (
        Index("ix_session_activity_segment_login", "login_id", "event", "start_at"),
        ROOMY,
    )

    session_number: Mapped[int] = mapped_column(
        Number, ForeignKey("session_activity_session.number"), primary_key=True
    )
    event: Mapped[str] = mapped_column(String(EVENT_LENGTH), primary_key=True)
    start_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    end_at: Mapped[datetime] = mapped_column(UtcDateTime)
    login_id: Mapped[int] = mapped_column(Number, ForeignKey("session_activity_login.id"))


class ClockAhead(Model):
    """A ping whose clock was ahead of ours, beside the time it arrived first.

    One that came in for a second time is known by it, and a session's start too.
    """

    __tablename__ = "session_activity_clock_ahead"

    session_number: Mapped[int] = mapped_column(
        Number, ForeignKey("session_activity_session.number"), primary_key=True
    )
    event: Mapped[str] = mapped_column(String(EVENT_LENGTH), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    arrived_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    next_ping_sec: Mapped[int] = mapped_column(Integer)


class ClockOffset(Model):
    """A ping whose sender told its own clock: what it said, and when it was by ours.

    One that came in for a second time counts where the first one put it.
    """

    __tablename__ = "session_activity_clock_offset"

    session_number: Mapped[int] = mapped_column(
        Number, ForeignKey("session_activity_session.number"), primary_key=True
    )
    event: Mapped[str] = mapped_column(String(EVENT_LENGTH), primary_key=True)
    said_at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    corrected_at: Mapped[datetime] = mapped_column(UtcDateTime)
    arrived_at: Mapped[datetime] = mapped_column(UtcDateTime)
