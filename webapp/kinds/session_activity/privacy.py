"""What is held about somebody: given to them, made nameless when it is old, erased on demand.

Hours go on counting. They come to stand under logins without a name, a new one for each month, so
that nothing ties one month of somebody to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from typing import Any
from uuid import uuid4

from flask import current_app
from sqlalchemy import ColumnElement, cast, delete, func, insert, or_, select, update

from webapp.accounts import (
    AuditEntry,
    Scope,
    User,
    audit,
    person_erasing,
    person_exporting,
    scope_of,
)
from webapp.engine import months
from webapp.engine.models import ACTIVE, Report, ResultRow
from webapp.engine.service import forget_reports, subject_forgotten
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.session_activity.compute import Span, day_of, day_start
from webapp.kinds.session_activity.ingest import zone_of
from webapp.kinds.session_activity.models import (
    SLUG,
    ClockAhead,
    ClockOffset,
    Computer,
    Correction,
    Login,
    Segment,
    Session,
    Settings,
)
from webapp.kinds.session_activity.names import (
    find,
    find_login,
    key_of,
    own_logins,
    settings_of,
)
from webapp.kinds.session_activity.segments import ends_day, hold
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.months import month_text, months_between, next_month

IsMeant = Callable[[str], bool]


def held(login: Any) -> dict[str, list[dict[str, Any]]]:
    """Return all rows about a login, by what they are, as JSON writes them."""
    sessions = select(Session.number).where(Session.login_id == login.id)
    computers = select(Session.computer_id).where(Session.login_id == login.id)
    wanted: dict[str, tuple[Any, ColumnElement[bool]]] = {
        "names": (Login, or_(Login.id == login.id, Login.same_as_id == login.id)),
        "computers": (Computer, Computer.id.in_(computers)),
        "sessions": (Session, Session.login_id == login.id),
        "time": (Segment, Segment.login_id == login.id),
        "clocks_ahead": (ClockAhead, ClockAhead.session_number.in_(sessions)),
        "clock_offsets": (ClockOffset, ClockOffset.session_number.in_(sessions)),
        "corrections": (Correction, Correction.login_id == login.id),
    }
    return {
        name: [
            {
                column: rfc3339(value, "auto") if isinstance(value, datetime) else value
                for column, value in row.items()
            }
            for row in db.session.execute(select(table.__table__).where(condition)).mappings()
        ]
        for name, (table, condition) in wanted.items()
    }


def wanted_logins(scope: Scope, name: str) -> Sequence[Any]:
    """Return the login of a name that the caller may see, or all of their own; raises NotFound."""
    if name:
        found = find_login(scope, name)
        if found is None:
            raise NotFound(f"There is no login {name!r}.")
        return [found]
    mine = select(Login.__table__).where(Login.id.in_(own_logins(scope)))
    return db.session.execute(mine.order_by(Login.key)).all()


def addresses(login: Any) -> Sequence[Any]:
    """Return the addresses a login was seen at: ip_addr, first, last and sessions, newest first."""
    last = func.max(Session.last_at).label("last")
    query = select(
        Session.ip_addr, func.min(Session.started_at).label("first"), last, func.count().label("n")
    ).where(Session.login_id == login.id)
    return db.session.execute(query.group_by(Session.ip_addr).order_by(last.desc())).all()


def erase(company_id: str, name: str, by: Scope | None) -> None:
    """Forget who a login is: its time stays, without a name. Commits.

    by: None for a command on the machine itself
    Raises: NotFound
    """
    login = find(db.session, Login, company_id, name)
    if login is None:
        raise NotFound(f"There is no login {name!r}.")
    hold(db.session, Login, [login.id], with_sessions=True)
    # A write first: whoever begins a session now waits for it, and finds no such login then.
    db.session.execute(update(Login).where(Login.id == login.id).values(is_off=True))
    called = (Login.id == login.id) | (Login.same_as_id == login.id)
    names = set(db.session.scalars(select(Login.name).where(called)))
    ahead = next_month(day_of(utcnow(), zone_of(current_app)).replace(day=1), 2)
    _take_names_off(login, ahead)
    db.session.execute(delete(Login).where(Login.same_as_id == login.id))
    db.session.execute(delete(Login).where(Login.id == login.id))
    strips = settings_of(company_id).strips_domain
    keys = {key_of(name, strips_domain=strips) for name in names}

    def is_meant(text: str) -> bool:
        return key_of(text, strips_domain=strips) in keys

    _forget_audited(company_id, names, is_meant)
    subject_forgotten.send(company_id=company_id, kind=SLUG, is_meant=is_meant)
    of_kind = (Report.company_id == company_id) & (Report.kind == SLUG)
    reports = db.session.execute(select(Report.id, Report.params).where(of_kind)).all()
    asked = [report_id for report_id, params in reports if is_meant(params.get("login") or "")]
    named = (ResultRow.report_id == Report.id) & ResultRow.data["login"].as_string().in_(names)
    is_shown = select(ResultRow.position).where(named).exists()
    audit(by, "erased a login", "its hours are kept without a name", company_id=company_id)
    db.session.commit()
    names_them = is_shown | Report.id.in_(asked) | Report.status.in_(ACTIVE)
    forget_reports(of_kind & names_them)


@person_erasing.connect
def erase_person(_sender: object, *, user: User) -> None:
    """Erase the logins that are a user's own, in all their companies. Commits."""
    for login in _logins_of(user):
        erase(login.company_id, login.name, None)


@person_exporting.connect
def export_person(_sender: object, *, user: User) -> dict[str, list[dict[str, Any]]]:
    """Return all rows about the logins that are a user's own."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for login in _logins_of(user):
        for name, found in held(login).items():
            rows.setdefault(f"session_activity: {name}", []).extend(found)
    return rows


def _logins_of(user: User) -> list[Any]:
    scopes = (scope_of(user, member.company_id) for member in list(user.memberships))
    return [login for scope in scopes if scope for login in wanted_logins(scope, "")]


def _forget_audited(company_id: str, names: Collection[str], is_meant: IsMeant) -> None:
    """Take somebody's names out of the audit log."""
    of_report = f"{SLUG} "
    begins = tuple(f"{name.casefold()}{after}" for name in names for after in (" ", ", "))
    about = or_(
        AuditEntry.action.in_(("changed login", "corrected hours")),
        AuditEntry.subject.startswith(of_report),
    )
    query = select(AuditEntry).where(AuditEntry.company_id == company_id, about)
    for entry in db.session.scalars(query):
        said = entry.subject.removeprefix(of_report)
        if is_meant(said.rpartition(": ")[0]) or said.casefold().startswith(begins):
            entry.subject = "erased"


def forget_old(now: datetime) -> None:
    """Take names off what is older than companies keep them; reports of that time go. Commits."""
    zone = zone_of(current_app)
    month = day_of(now, zone).replace(day=1)
    kept = select(Settings).where(Settings.names_kept_months.is_not(None))
    for settings in db.session.scalars(kept).all():
        first_kept = next_month(month, -(settings.names_kept_months or 0))
        before, company_id = day_start(first_kept, zone), settings.company_id
        old = or_(
            select(Session.number)
            .where(Session.login_id == Login.id, Session.started_at < before)
            .exists(),
            select(Segment.event)
            .where(Segment.login_id == Login.id, Segment.start_at < before)
            .exists(),
            select(Correction.id)
            .where(Correction.login_id == Login.id, _begins_before(before))
            .exists(),
        )
        named = (Login.company_id == company_id) & Login.nameless_month.is_(None)
        for login in db.session.execute(select(Login.__table__).where(named, old)).all():
            _take_names_off(login, first_kept)
            settings.nameless_at = utcnow()
            db.session.commit()
        if settings.nameless_at is not None:
            # One that was being made meanwhile goes the next time.
            began = Report.head["from_date"].as_string() < first_kept.isoformat()
            is_old = Report.status.not_in(ACTIVE) & (Report.created_at < settings.nameless_at)
            of_kind = (Report.company_id == company_id) & (Report.kind == SLUG)
            forget_reports(of_kind & began & is_old)


def _take_names_off(login: Any, first_kept: date) -> None:
    """Put a login's time before a month under logins without a name, in the session."""
    zone = zone_of(current_app)
    mine = (
        select(func.min(moment)).where(table.login_id == login.id)
        for table, moment in (
            (Segment, Segment.start_at),
            (Session, Session.started_at),
            (Correction, Correction.start_at),
            (Correction, Correction.new_start_at),
        )
    )
    began = [at for at in map(db.session.scalar, mine) if at is not None]
    if not began:
        return
    first, last = day_of(min(began), zone).replace(day=1), next_month(first_kept, -1)
    for month in months_between(first, last):
        _move_month(login, month, day_start(next_month(month), zone))
    months.expire(company_id=login.company_id, kind=SLUG, subject=login.name, end=last)


def _move_month(login: Any, month: date, end: datetime) -> None:
    """Put all time of a login before the end of a month under a new login without a name."""
    with_time = select(Segment.session_number).where(
        Segment.login_id == login.id, Segment.start_at < end
    )
    begun = (Session.login_id == login.id) & (Session.started_at < end)
    query = select(Session.__table__).where(begun | Session.number.in_(with_time))
    # In the order in which pings lock them.
    sessions = db.session.execute(query.order_by(Session.id).with_for_update()).mappings().all()
    corrections = select(Correction.__table__).where(
        Correction.login_id == login.id, _begins_before(end)
    )
    corrected = db.session.execute(corrections.order_by(Correction.id)).mappings().all()
    if not sessions and not corrected:
        return
    name = f"nameless {month_text(month)} {uuid4().hex[:12]}"
    nobody = Login(company_id=login.company_id, name=name, key=name, nameless_month=month)
    nobody.longest_days = login.longest_days
    db.session.add(nobody)
    db.session.flush()
    numbers = [row["number"] for row in sessions]
    of_them = Segment.session_number.in_(numbers)
    beyond = set(
        db.session.scalars(select(Segment.session_number).where(of_them, Segment.end_at > end))
    )
    cut = [row for row in sessions if row["number"] in beyond or row["ends_at"] > end]
    for row in cut:
        _cut_session(row, end)
    over = (Segment.login_id == login.id) & (Segment.end_at <= end)
    db.session.execute(update(Segment).where(over).values(login_id=nobody.id))
    is_over = (Session.login_id == login.id) & (Session.ends_at <= end)
    is_over &= Session.number.not_in([row["number"] for row in cut])
    nowhere = {"id": _random_id(), "ip_addr": "", "login_id": nobody.id}
    db.session.execute(update(Session).where(is_over).values(nowhere))
    # They told pings that come again from new ones.
    for table in (ClockAhead, ClockOffset):
        db.session.execute(delete(table).where(table.session_number.in_(numbers)))
    for row in corrected:
        _cut_correction(row, nobody.id, end)


def _cut_session(row: Any, end: datetime) -> None:
    """Cut a session and its time in two at the end of a month; the earlier part is a new one."""
    number = row["number"]
    early = {name: value for name, value in row.items() if name != "number"}
    early |= {"id": uuid4().hex, "last_at": min(row["last_at"], end)}
    early |= {"ends_at": end, "ends_day": ends_day(end)}
    made = insert(Session).values(early).returning(Session.number)
    twin = db.session.execute(made).scalar_one()
    begins = max(row["started_at"], end)
    db.session.execute(update(Session).where(Session.number == number).values(started_at=begins))
    mine = Segment.session_number == number
    across = mine & (Segment.start_at < end) & (Segment.end_at > end)
    for segment in db.session.execute(select(Segment.__table__).where(across)).mappings().all():
        part = {**segment, "session_number": twin, "end_at": end}
        db.session.execute(insert(Segment).values(part))
    db.session.execute(update(Segment).where(across).values(start_at=end))
    early_ones = mine & (Segment.end_at <= end)
    db.session.execute(update(Segment).where(early_ones).values(session_number=twin))


def _random_id() -> Any:
    """Return what gives each row an id of its own that says nothing."""
    if db.engine.dialect.name == "sqlite":
        return func.lower(func.hex(func.randomblob(16)))
    return cast(func.gen_random_uuid(), Session.id.type)


def _begins_before(moment: datetime) -> ColumnElement[bool]:
    return (Correction.start_at < moment) | (Correction.new_start_at < moment)


def _cut_correction(row: Any, nobody_id: int, end: datetime) -> None:
    """Let what a correction says of the time before a moment be said of a login without a name."""
    wrong = Span(row["start_at"], row["end_at"])
    right = Span(row["new_start_at"], row["new_end_at"]) if row["new_start_at"] else None
    early = _as_columns(wrong, right, lambda at: min(at, end))
    late = _as_columns(wrong, right, lambda at: max(at, end))
    if early and row["taken_back_at"] is None:
        # A row of its own, so that they stay in their order, which counts.
        nameless = {"login_id": nobody_id, "reason": "", "made_by": ""}
        kept = {name: value for name, value in row.items() if name != "id"}
        db.session.execute(insert(Correction).values({**kept, **early, **nameless}))
    this = Correction.id == row["id"]
    if late:
        db.session.execute(update(Correction).where(this).values(late))
    else:
        db.session.execute(delete(Correction).where(this))


def _as_columns(wrong: Span, right: Span | None, clip: Any) -> dict[str, Any]:
    """Return the part of a correction on one side of a moment; empty where none of it is."""
    start, end = clip(wrong.start), clip(wrong.end)
    new_start, new_end = (clip(right.start), clip(right.end)) if right else (end, end)
    if start == end and new_start == new_end:
        return {}
    is_right = new_start < new_end
    return {
        "start_at": start,
        "end_at": end,
        "new_start_at": new_start if is_right else None,
        "new_end_at": new_end if is_right else None,
    }
