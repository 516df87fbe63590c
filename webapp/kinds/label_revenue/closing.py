"""The life of a month: open, calculated, approved, locked, paid; each step with who and when.

Before it can be paid it may need something: what, and where that is put right.

A locked month stays as it is paid, by every method. What changes before that opens it again; what
changes later is paid as an adjustment of the first month that is not locked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, func, select

from webapp.accounts import Membership, Scope
from webapp.errors import Conflict, InvalidParams
from webapp.extensions import db
from webapp.kinds.label_revenue.facts import payers
from webapp.kinds.label_revenue.in_force import standing_loads
from webapp.kinds.label_revenue.ledger import (
    UnitOfWork,
    accounting_period,
    add_event,
    partition_ids,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    AccountingPeriod,
    Batch,
    LabelMonth,
    ListenerMonth,
    RepeatedStream,
    Stream,
    TermsInForce,
)
from webapp.kinds.label_revenue.periods import events_of, locked_periods, months_due, settings_for
from webapp.kinds.label_revenue.report.balances import balances_of
from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.kinds.label_revenue.report.payouts import Payer, packed
from webapp.kinds.label_revenue.sums import LABELS, label_of_stream, process_pending
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_text, next_month
from webapp.lib.texts import counted

STATES = ("open", "calculated", "approved", "locked", "paid")


def state_after(state: str) -> str | None:
    """Return the state that follows, None after the last."""
    return dict(pairwise(STATES)).get(state)


def advance(company_id: str, month: date, state: str, by: Scope) -> None:
    """Take a month one step on, into a state.

    Raises: Conflict for a month that is not over, has nothing to pay, or is in another state, and
            where somebody else has to approve
    """
    if month >= current_month():
        raise Conflict(f"{month_text(month)} is not over yet; only closed months are accounted.")
    process_pending(company_id)
    with unit_of_work(company_id, by) as work:
        period = _period(company_id, month)
        if state_after(period.state) != state:
            ready = STATES.index(period.state) >= STATES.index(state)
            sentence = f"is {period.state} already" if ready else f"is {period.state} still"
            raise Conflict(f"{month_text(month)} {sentence}; it cannot become {state} now.")
        if state == "approved":
            _check_second_person(company_id, month, by.user_id)
        if state == "locked":
            paid: dict[str, Any] = {}
            for method in METHODS:
                payer = Payer(company_id, method)
                kept = [list(one) for one in balances_of(payer, month)]
                paid[method] = packed(payer.month(month)) | {"balances": kept}
            period.locked, period.locked_at, period.locked_by = paid, utcnow(), by.user_id
            period.changed = False
        period.state = state
        _write_down(work, month, state, f"{state} month", "")


def step_back(company_id: str, month: date, reason: str, by: Scope) -> str:
    """Take a month one step back and return the state it is in now.

    Raises: InvalidParams without a reason, Conflict for an open month, and for a locked one where
            a later month is locked: that one may have paid adjustments of it
    """
    if not reason.strip():
        raise InvalidParams({"reason": "Give a reason; it is recorded."})
    with unit_of_work(company_id, by) as work:
        period = accounting_period(company_id, month)
        if period is None or period.state == "open":
            raise Conflict(f"{month_text(month)} is open already.")
        if period.state == "locked":
            newest = locked_periods(company_id)[-1].month
            if newest > month:
                raise Conflict(f"{month_text(newest)} is locked as well; unlock that one first.")
            period.locked, period.locked_at, period.locked_by = None, None, None
        before, period.state = period.state, STATES[STATES.index(period.state) - 1]
        if before == "locked" and period.changed:
            # What was approved is not what would be paid now.
            period.state = "open"
        _write_down(work, month, period.state, f"took {before} month back", reason.strip())
        return period.state


def _period(company_id: str, month: date) -> AccountingPeriod:
    found = accounting_period(company_id, month)
    if found is None:
        if month not in months_due(company_id):
            raise Conflict(f"There are no streams in {month_text(month)}.")
        found = AccountingPeriod(company_id=company_id, month=month, revision=0, state="open")
        db.session.add(found)
    return found


def _check_second_person(company_id: str, month: date, user_id: str) -> None:
    """Refuse who calculated the month, where the company has another admin to approve it."""
    admins = db.session.scalar(
        select(func.count()).where(Membership.company_id == company_id, Membership.role == "admin")
    )
    calculated = [one for one in events_of(company_id, month) if one.state == "calculated"]
    if (admins or 0) > 1 and calculated and calculated[-1].user_id == user_id:
        raise Conflict("Another admin than the one who calculated the month has to approve it.")


def _write_down(work: UnitOfWork, month: date, state: str, action: str, reason: str) -> None:
    add_event(work, month, state, reason)
    subject = f"label-revenue {month_text(month)}"
    work.record(action, f"{subject}: {reason}" if reason else subject)


SHOWN = 20
LOAD, SETTINGS = "/label-revenue/load", "/label-revenue#settings"


class Need(NamedTuple):
    """One thing to look at: a sentence, the first of what it is about, and the way to it."""

    sentence: str
    items: tuple[str, ...]
    link: str
    link_text: str


def month_needs(company_id: str, month: date) -> list[Need]:
    """Return what a month still needs, the gravest first; empty where it can be paid."""
    return [
        *_without_share(company_id, month),
        *_without_terms(company_id, month),
        *_without_label(company_id, month),
        *_without_users_file(company_id, month),
        *_repeated(company_id, month),
        *_warnings(company_id, month),
    ]


def _without_share(company_id: str, month: date) -> Iterator[Need]:
    shares = settings_for(company_id, month).shares
    terms = payers(company_id, month)
    for origin, count in db.session.execute(
        select(terms.c.origin, func.count()).group_by(terms.c.origin).order_by(terms.c.origin)
    ):
        if origin not in shares:
            listeners = counted(count, "listener")
            sentence = f"The origin {origin} of {listeners} has no share in this month."
            yield Need(sentence, (), SETTINGS, "Set the shares")


def _without_terms(company_id: str, month: date) -> Iterator[Need]:
    known = select(TermsInForce.user_id).where(
        TermsInForce.company_id == company_id, TermsInForce.user_id == ListenerMonth.user_id
    )
    unknown = and_(
        ListenerMonth.company_id == company_id, ListenerMonth.month == month, ~known.exists()
    )
    count = db.session.scalar(select(func.count()).select_from(ListenerMonth).where(unknown))
    if count:
        first = select(ListenerMonth.user_id).where(unknown).order_by(ListenerMonth.seconds.desc())
        items = tuple(str(user_id) for user_id in db.session.scalars(first.limit(SHOWN)))
        listeners = counted(count, "listener")
        sentence = f"No users file names {listeners} who streamed: they pay nothing."
        yield Need(sentence, items, LOAD, "Load a users file")


def _without_label(company_id: str, month: date) -> Iterator[Need]:
    found = db.session.get(LabelMonth, (company_id, month, UNLABELLED))
    if found is None:
        return
    tracks = (
        select(Stream.track_id)
        .outerjoin(LABELS, label_of_stream(company_id))
        .where(
            Stream.partition_id.in_(partition_ids(company_id)),
            Stream.date >= month,
            Stream.date < next_month(month),
            func.coalesce(LABELS.c.label_id, UNLABELLED) == UNLABELLED,
        )
        .group_by(Stream.track_id)
        .order_by(func.sum(Stream.seconds).desc(), Stream.track_id)
    )
    items = tuple(db.session.scalars(tracks.limit(SHOWN)))
    streams = counted(found.streams, "stream")
    sentence = f"Without a label: {streams}. Nobody gets the money of their tracks."
    yield Need(sentence, items, LOAD, "Load the tracks")


def _without_users_file(company_id: str, month: date) -> Iterator[Need]:
    loads = [one for one in standing_loads(company_id) if one.listeners]
    if any(one.month == month for one in loads):
        return
    earlier = [one.month for one in loads if one.month and one.month <= month]
    first = min((one.month for one in loads if one.month), default=None)
    held = max(earlier, default=first)
    if held is None:
        yield Need("No users file is loaded: nobody pays anything.", (), LOAD, "Load a users file")
    else:
        sentence = f"There is no users file for this month: the fees of {month_text(held)} apply."
        yield Need(sentence, (), LOAD, "Load this month's")


def _repeated(company_id: str, month: date) -> Iterator[Need]:
    query = (
        select(Batch.id, func.count())
        .join(RepeatedStream, RepeatedStream.batch_no == Batch.no)
        .where(
            RepeatedStream.company_id == company_id,
            RepeatedStream.date >= month,
            RepeatedStream.date < next_month(month),
        )
        .group_by(Batch.id, Batch.no)
        .order_by(Batch.no)
    )
    for batch_id, count in db.session.execute(query):
        sentence = f"Of a load, {counted(count, 'stream')} were loaded before: skipped."
        yield Need(sentence, (), f"/label-revenue#{batch_id}", "See the load")


def _warnings(company_id: str, month: date) -> Iterator[Need]:
    for load in standing_loads(company_id):
        if load.first_month and load.last_month and load.first_month <= month <= load.last_month:
            for sentence in load.warnings:
                yield Need(sentence, (), f"/label-revenue#{load.id}", "See the load")


def terms_source(company_id: str, user_id: int, month: date) -> Row[TermsInForce, Batch] | None:
    """Return what a listener pays in a month and which load says so; None for an unknown one."""
    return db.session.execute(
        select(TermsInForce, Batch)
        .join(Batch, Batch.no == TermsInForce.batch_no)
        .where(
            TermsInForce.company_id == company_id,
            TermsInForce.user_id == user_id,
            TermsInForce.from_month <= month,
            TermsInForce.until_month > month,
        )
    ).first()
