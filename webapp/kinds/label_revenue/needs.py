"""What a month still needs before it can be paid, and where each of it is put right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select

from webapp.extensions import db
from webapp.kinds.label_revenue.facts import payers
from webapp.kinds.label_revenue.in_force import standing_loads
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Batch,
    LabelInForce,
    LabelMonth,
    ListenerMonth,
    RepeatedStream,
    Stream,
    TermsInForce,
)
from webapp.kinds.label_revenue.partitions import partition_ids
from webapp.kinds.label_revenue.periods import settings_for
from webapp.kinds.label_revenue.sums import label_of_stream
from webapp.lib.months import month_text, next_month
from webapp.lib.texts import counted

SHOWN = 20
LOAD, SETTINGS = "/label-revenue/load", "/label-revenue#settings"


class Need(NamedTuple):
    """One thing to look at: a sentence, the first of what it is about, and the way to it."""

    sentence: str
    items: tuple[str, ...]
    link: str
    link_text: str


class TermsSource(NamedTuple):
    """What a listener pays in a month, and the load that says so."""

    fee: str
    origin: str
    product_type: str
    from_month: date
    early: bool
    batch: Batch


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
        sentence = f"No users file tells of {listeners} who streamed: they pay nothing."
        yield Need(sentence, items, LOAD, "Load a users file")


def _without_label(company_id: str, month: date) -> Iterator[Need]:
    found = db.session.get(LabelMonth, (company_id, month, UNLABELLED))
    if found is None:
        return
    labels: Any = LabelInForce.__table__
    tracks = (
        select(Stream.track_id)
        .outerjoin(labels, label_of_stream(company_id))
        .where(
            Stream.partition_id.in_(partition_ids(company_id)),
            Stream.date >= month,
            Stream.date < next_month(month),
            func.coalesce(labels.c.label_id, UNLABELLED) == UNLABELLED,
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
        sentence = f"No users file is of this month: the fees told for {month_text(held)} hold."
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
        sentence = f"Of a load, {counted(count, 'stream')} stood already: skipped."
        yield Need(sentence, (), f"/label-revenue#{batch_id}", "See the load")


def _warnings(company_id: str, month: date) -> Iterator[Need]:
    for load in standing_loads(company_id):
        if load.first_month and load.last_month and load.first_month <= month <= load.last_month:
            for sentence in load.warnings:
                yield Need(sentence, (), f"/label-revenue#{load.id}", "See the load")


def terms_source(company_id: str, user_id: int, month: date) -> TermsSource | None:
    """Return what a listener pays in a month and which load says so; None for an unknown one."""
    found = db.session.execute(
        select(TermsInForce, Batch)
        .join(Batch, Batch.no == TermsInForce.batch_no)
        .where(
            TermsInForce.company_id == company_id,
            TermsInForce.user_id == user_id,
            TermsInForce.from_month <= month,
            TermsInForce.until_month > month,
        )
    ).first()
    if found is None:
        return None
    terms, batch = found
    own = batch.month or terms.from_month
    return TermsSource(terms.fee, terms.origin, terms.product_type, own, terms.early, batch)
