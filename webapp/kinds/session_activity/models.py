"""Tables of session activity: logins, computers, sessions, segments of time, what corrects them.

Segments hold the pings, joined: within a session and an event no two are closer than the grace.
They are never cut, at midnight or elsewhere. Each ping counts for its session (event '') and, where
it names an event, for that event too.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Date, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import CompanyId, Model, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow

SLUG = "session-activity"
# SQLite numbers rows by itself only where the key is exactly INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")
LOGIN_LENGTH, COMPUTER_LENGTH, EVENT_LENGTH, ID_LENGTH = 50, 30, 50, 64
ADDRESS_LENGTH, ROOM_LENGTH, KEY_LENGTH = 64, 50, 500
# A ping changes its rows in place; the room left in each page keeps indexes out of it.
ROOMY: dict[str, Any] = {"postgresql_with": {"fillfactor": 80}}


class Named:
    """What logins and computers share: a name of a company, by which programs mean it.

    key:        the name as it is matched, see `names.key_of`
    same_as_id: the one it was merged into; its sessions went there, and so does who still says it
    is_off:     no session may begin; hours stay
    """

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    company_id: Mapped[CompanyId]
    key: Mapped[str] = mapped_column(String(KEY_LENGTH))
    is_off: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class Login(Named, Model):
    """Somebody whose time is counted.

    user_id:      whose account it is, where an admin said so; see `names.own_logins`
    nameless_month: the one month in which it stands for somebody whose name is not kept any more
    longest_days: no segment of this login is longer, which bounds where a month's may start
    late_at:      when a late ping or a correction last changed a month that was over
    """

    __tablename__ = "session_activity_login"
    __table_args__ = (UniqueConstraint("company_id", "key"),)

    name: Mapped[str] = mapped_column(String(LOGIN_LENGTH))
    same_as_id: Mapped[int | None] = mapped_column(Number, ForeignKey("session_activity_login.id"))
    user_id: Mapped[UuidText | None] = mapped_column(index=True)
    nameless_month: Mapped[date | None] = mapped_column(Date)
    longest_days: Mapped[int] = mapped_column(Integer, default=1)
    late_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Computer(Named, Model):
    """A computer of the domain.

    room:           where it stands; empty: as the company's patterns of names say
    corrects_clock: hours of its sessions whose pings all came with the same lag are read as if its
                    clock were right; pings stay as they were sent, so it can be taken back
    """

    __tablename__ = "session_activity_computer"
    __table_args__ = (UniqueConstraint("company_id", "key"),)

    name: Mapped[str] = mapped_column(String(COMPUTER_LENGTH))
    same_as_id: Mapped[int | None] = mapped_column(
        Number, ForeignKey("session_activity_computer.id")
    )
    room: Mapped[str] = mapped_column(String(ROOM_LENGTH), default="")
    corrects_clock: Mapped[bool] = mapped_column(default=False)


class Settings(Model):
    """How a company's names and hours are read, by whom, and how long with names.

    strips_domain: `DOMAIN\\name` and `name@realm` mean `name`
    opening_hours: as `Mo-Fr 08:00-18:00; Sa 09:00-12:00`; empty: always
    rooms:         lines `pattern = room` for computers that name no room of their own
    hours_seen_by: everybody, admins, or oneself alone
    mail_domain:   accounts with an address in it own the login before its @; empty: none do
    names_kept_months: so many months before this one keep names and addresses; None: all
    nameless_at:   when names were last taken off hours; older reports may still have them
    """

    __tablename__ = "session_activity_settings"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    strips_domain: Mapped[bool] = mapped_column(default=False)
    opening_hours: Mapped[str] = mapped_column(String(500), default="")
    rooms: Mapped[str] = mapped_column(String(10_000), default="")
    hours_seen_by: Mapped[str] = mapped_column(String(10), default="everybody")
    mail_domain: Mapped[str] = mapped_column(String(253), default="")
    names_kept_months: Mapped[int | None] = mapped_column(Integer)
    nameless_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Session(Model):
    """A login at a computer. `id` is the computer's own, unique in its company.

    ip_addr: as the computer says it; an IP address in its one spelling, or any text
    started_at: when it began, on our clock where theirs is ahead
    last_at, ends_at: the newest ping and the end it promises, on our clock where theirs is ahead;
              where it was ended, `ends_at` is no later, and before it by a clock that is behind
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
        Index("ix_session_activity_session_computer", "computer_id", "ends_day"),
        ROOMY | kept("started_at", "SESSIONS_KEPT_MONTHS"),
    )

    number: Mapped[int] = mapped_column(Number, primary_key=True)
    company_id: Mapped[CompanyId]
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


class Correction(Model):
    """A stretch of a login's time at a computer that was wrong: removed, or put elsewhere.

    It is applied when hours are read, the older ones first, so it can be taken back.
    start_at, end_at:         the stretch that does not count
    new_start_at, new_end_at: the one that counts instead, if any
    """

    __tablename__ = "session_activity_correction"
    __table_args__ = (
        Index("ix_session_activity_correction_login", "login_id", "start_at"),
        kept("made_at", "SESSIONS_KEPT_MONTHS"),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True)
    login_id: Mapped[int] = mapped_column(Number, ForeignKey("session_activity_login.id"))
    computer_id: Mapped[int] = mapped_column(Number, ForeignKey("session_activity_computer.id"))
    start_at: Mapped[datetime] = mapped_column(UtcDateTime)
    end_at: Mapped[datetime] = mapped_column(UtcDateTime)
    new_start_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    new_end_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(String(200))
    made_by: Mapped[str] = mapped_column(String(254))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    taken_back_by: Mapped[str | None] = mapped_column(String(254))
    taken_back_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
