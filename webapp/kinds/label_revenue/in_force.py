"""What holds for a month, worked out from the loads that stand and the order in which they came.

A listener's terms and a track's label for a month are those of the newest standing load whose own
month is the latest one not after it; before the first, those of the first. Nothing else matters: a
load may come, be undone and come again, and the same loads in the same order give the same truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import (
    Date,
    and_,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    union,
)

from webapp.engine.retention import kept_from
from webapp.extensions import db
from webapp.kinds.label_revenue import sums
from webapp.kinds.label_revenue.ledger import (
    BEGINNING,
    END,
    SLUG,
    UnitOfWork,
    find_api_batch,
    in_batch,
    temporary_table,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Batch,
    LabelInForce,
    LabelMonth,
    ListenerMonth,
    Stream,
    Terms,
    TermsInForce,
    Track,
)
from webapp.lib.months import next_month


def own_months(loads: Iterable[Batch]) -> dict[int, date]:
    """Return each standing load's own month, by its number; `loads` are in order of arrival.

    It is the month a person named, else the first of its streams, else the month after the newest
    one known when it came. A load before which nothing is known holds from the beginning.
    """
    found: dict[int, date] = {}
    newest: date | None = None
    for load in loads:
        known = max(filter(None, (newest, load.known_month)), default=None)
        after = next_month(known) if known else BEGINNING
        found[load.no] = load.said_month or load.first_month or after
        newest = max(filter(None, (newest, load.last_month)), default=None)
    return found


def standing_loads(company_id: str) -> list[Batch]:
    """Return the loads of files that were not undone, in order of arrival."""
    query = select(Batch).where(Batch.company_id == company_id, Batch.undone_at.is_(None))
    return [one for one in db.session.scalars(query.order_by(Batch.no)) if "api" not in one.files]


def known_month(company_id: str) -> date | None:
    """Return the newest month of streams that programs sent: loads come after these, too."""
    sent = find_api_batch(company_id)
    newest = (
        db.session.scalar(select(func.max(Stream.date)).where(in_batch(sent))) if sent else None
    )
    return newest.replace(day=1) if newest else None


def month_ahead(company_id: str, said: date | None, first_day: date | None) -> date:
    """Return the own month of a load if it came now; first_day: the first one of its streams."""
    first = first_day.replace(day=1) if first_day else None
    known = None if said or first else known_month(company_id)
    load = Batch(no=0, said_month=said, first_month=first, known_month=known)
    return own_months([*standing_loads(company_id), load])[load.no]


def work_out(work: UnitOfWork, changed: Batch) -> None:
    """Work out what holds after a load came or was undone; its rows are still there.

    Own months of later loads may change with it, and with them what those said.
    """
    db.session.flush()
    numbers = {changed.no}
    months = own_months(standing_loads(work.company_id))
    for load in db.session.scalars(select(Batch).where(Batch.company_id == work.company_id)):
        if load.month != months.get(load.no):
            load.month = months.get(load.no)
            numbers.add(load.no)
    db.session.flush()
    for model, said, key, history, settle in (
        (TermsInForce, Terms, "user_id", _terms_history, _mark_terms),
        (LabelInForce, Track, "track_id", _labels_history, _move_relabelled),
    ):
        changed_keys = select(getattr(said, key)).where(
            said.company_id == work.company_id, said.batch_no.in_(numbers)
        )
        if work.connection.execute(changed_keys.limit(1)).first() is not None:
            mine = and_(model.company_id == work.company_id, getattr(model, key).in_(changed_keys))
            query = select(model.__table__).where(mine)
            with temporary_table(work, "label_revenue_before", query) as before:
                work.connection.execute(delete(model).where(mine))
                _write_history(work, model, history, getattr(said, key).in_(changed_keys))
                settle(work, before, query.subquery())


def _write_history(work: UnitOfWork, model: Any, history: Any, where: Any) -> None:
    query = history(work.company_id, where)
    work.connection.execute(insert(model).from_select(query.selected_columns.keys(), query))


def _newest_by_month(model: Any, key: Any, company_id: str, where: Any) -> Any:
    """Return what standing loads say, of several with the same own month the newest."""
    columns = [one for one in model.__table__.c if one.name != "company_id"]
    place = func.row_number().over(partition_by=(key, Batch.month), order_by=model.batch_no.desc())
    ranked = (
        select(*columns, Batch.month.label("month"), place.label("place"))
        .join(Batch, Batch.no == model.batch_no)
        .where(model.company_id == company_id, Batch.month.is_not(None), where)
        .subquery()
    )
    return select(ranked).where(ranked.c.place == 1).subquery()


def _until(said: Any, key: Any, start: Any) -> Any:
    return func.coalesce(
        func.lead(start).over(partition_by=key, order_by=said.c.month), literal(END, Date)
    )


# Terms of listeners


def _terms_history(company_id: str, where: Any) -> Any:
    """Return the query of what listeners pay from when until when, and what holds before."""
    said = _newest_by_month(Terms, Terms.user_id, company_id, where)
    spans = select(
        said,
        _until(said, said.c.user_id, said.c.month).label("until_month"),
        func.lag(said.c.month).over(partition_by=said.c.user_id, order_by=said.c.month).label("p"),
    ).subquery()
    kept = [spans.c[name] for name in ("batch_no", "product_type", "fee", "origin")]
    owner = literal(company_id, TermsInForce.company_id.type).label("company_id")

    def rows(start: Any, until: Any, early: Any) -> Any:
        return select(
            owner,
            spans.c.user_id,
            start.label("from_month"),
            until.label("until_month"),
            early.label("early"),
            *kept,
        )

    first = literal(BEGINNING, Date)
    begun = rows(spans.c.month, spans.c.until_month, false())
    early = rows(first, spans.c.month, true()).where(spans.c.p.is_(None), spans.c.month > first)
    return begun.union_all(early).subquery().select()


def _mark_terms(work: UnitOfWork, before_table: Any, now: Any) -> None:
    """Mark the months in which somebody pays otherwise than before.

    Terms before a listener's first month matter only where that listener streamed.
    """
    before = before_table.c
    overlap = and_(
        before.user_id == now.c.user_id,
        before.from_month < now.c.until_month,
        now.c.from_month < before.until_month,
    )
    differs = or_(
        before.fee != now.c.fee, before.origin != now.c.origin, before.early != now.c.early
    )
    start = case((before.from_month > now.c.from_month, before.from_month), else_=now.c.from_month)
    until = case(
        (before.until_month < now.c.until_month, before.until_month), else_=now.c.until_month
    )
    both = select(
        now.c.user_id, start.label("start"), until.label("until"),
        and_(before.early, now.c.early).label("early"),
    ).select_from(before_table).join(now, overlap).where(differs)  # fmt: skip
    sides = [both]
    for side, other in ((before, now.c), (now.c, before)):
        only = ~select(other.user_id).where(other.user_id == side.user_id).exists()
        sides.append(
            select(side.user_id, side.from_month, side.until_month, side.early).where(only)
        )
    changed = sides[0].union_all(*sides[1:]).subquery()
    spans = select(changed.c.start, changed.c.until).where(~changed.c.early).distinct()
    for first, end in work.connection.execute(spans).all():
        work.changed_spans.append((first, end))
    streamed = select(ListenerMonth.month).join(
        changed,
        and_(
            changed.c.early,
            changed.c.user_id == ListenerMonth.user_id,
            changed.c.start <= ListenerMonth.month,
            changed.c.until > ListenerMonth.month,
        ),
    )
    mine = ListenerMonth.company_id == work.company_id
    work.changed.update(work.connection.scalars(streamed.where(mine).distinct()))


# Labels of tracks


def _labels_history(company_id: str, where: Any) -> Any:
    """Return the query of tracks' labels from when until when; the first holds before, too."""
    said = _newest_by_month(Track, Track.track_id, company_id, where)
    previous = func.lag(said.c.label_id).over(partition_by=said.c.track_id, order_by=said.c.month)
    steps = select(said.c.track_id, said.c.month, said.c.label_id, previous.label("p")).subquery()
    changes = (
        select(steps).where(or_(steps.c.p.is_(None), steps.c.p != steps.c.label_id)).subquery()
    )
    start = case((changes.c.p.is_(None), literal(BEGINNING, Date)), else_=changes.c.month)
    return select(
        literal(company_id, LabelInForce.company_id.type).label("company_id"),
        changes.c.track_id,
        start.label("from_month"),
        _until(changes, changes.c.track_id, changes.c.month).label("until_month"),
        changes.c.label_id,
    )


def _move_relabelled(work: UnitOfWork, before: Any, now: Any) -> None:
    """Take streams of tracks with another label out of the sums, and add them under the new one.

    Histories differ first at the earliest step that only one of them has.
    """
    steps = [select(one.c.track_id, one.c.from_month, one.c.label_id) for one in (now, before)]
    differing = union(
        steps[0].except_(steps[1]).subquery().select(),
        steps[1].except_(steps[0]).subquery().select(),
    ).subquery()
    first = func.min(differing.c.from_month).label("from_month")
    query = select(differing.c.track_id, first).group_by(differing.c.track_id)
    with temporary_table(work, "label_revenue_relabelled", query) as relabelled:
        if (since := _summed_since(work, before, relabelled)) is not None:
            waiting = select(Batch.no).where(
                Batch.company_id == work.company_id, Batch.summed.is_(False)
            )
            moved = [
                Stream.track_id.in_(select(relabelled.c.track_id)),
                Stream.date >= since,
                Stream.batch_no.not_in(waiting),
            ]
            sums.aggregate(work, moved, -1, before)
            sums.aggregate(work, moved, +1)


def _summed_since(work: UnitOfWork, before: Any, relabelled: Any) -> date | None:
    """Return the first month in which a relabelled track may have been heard; None without any.

    Only months and labels with seconds matter: finding the streams of a track costs a scan.
    """
    heard = (
        select(func.min(LabelMonth.month))
        .select_from(relabelled)
        .outerjoin(before, before.c.track_id == relabelled.c.track_id)
        .join(LabelMonth, LabelMonth.label_id == func.coalesce(before.c.label_id, UNLABELLED))
        .where(
            LabelMonth.company_id == work.company_id, LabelMonth.month >= relabelled.c.from_month
        )
    )
    return work.connection.scalar(heard)


def recount(company_id: str) -> list[tuple[str, int]]:
    """Work out again what is in force and the sums; put right what differs.

    Returns: each table that did not follow from what loads said, and how many rows differed
    """
    proved: tuple[Any, ...] = (TermsInForce, LabelInForce, *(model for model, _ in sums.SUMS))
    since = kept_from(SLUG)
    with unit_of_work(company_id) as work:
        sums.process_pending_within(work)
        processed = set(work.changed)
        before = {model: _content(work, model) for model in proved}
        for model, history in ((TermsInForce, _terms_history), (LabelInForce, _labels_history)):
            work.connection.execute(delete(model).where(model.company_id == company_id))
            _write_history(work, model, history, true())
        for model, _ in sums.SUMS:
            mine = (model.company_id == company_id) & (model.month >= since)
            work.connection.execute(delete(model).where(mine))
        sums.aggregate(work, [Stream.date >= since], +1)
        found: list[tuple[str, int]] = []
        for model in proved:
            if wrong := len(before[model] ^ _content(work, model)):
                found.append((model.__tablename__, wrong))
        if not found:
            # Only what was added up just now has changed; other revisions must stay.
            work.changed &= processed
            work.changed_spans.clear()
        else:
            work.changed_spans.append((BEGINNING, END))
    return found


def _content(work: UnitOfWork, model: Any) -> set[int]:
    """Return a digest of each row, so that millions of them fit in memory."""
    query = select(model.__table__).where(model.company_id == work.company_id)
    rows = work.connection.execute(query, execution_options={"yield_per": 5000})
    return {hash(tuple(row)) for row in rows}
