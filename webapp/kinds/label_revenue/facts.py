"""The facts of one month, read from sums and terms: who pays what, who heard what.

Terms hold from a month on. A listener pays in every month from the first terms on, and in an
earlier month only if there are streams in it; what is charged then is what the first terms say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import BigInteger, Numeric, Subquery, and_, case, cast, func, or_, select, text

from webapp.errors import ReportError
from webapp.extensions import db
from webapp.kinds.label_revenue.ledger import partition_ids
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Label,
    LabelMonth,
    ListenerLabelMonth,
    ListenerMonth,
    MonthSettings,
    Stream,
    TermsInForce,
)
from webapp.kinds.label_revenue.periods import digits
from webapp.kinds.label_revenue.report.compute import (
    FIXED_POINT,
    NO_LABEL,
    NO_LISTENER,
    Group,
    Key,
    Method,
    Pair,
    net_fee,
)
from webapp.kinds.label_revenue.sums import LABELS, label_of_stream
from webapp.lib.months import next_month

# Seconds and weight of each part of a line.
Heard = dict[Key, dict[tuple[str | None, ...], list[int]]]
STRANGERS = -1
# What one listener's seconds are divided into: it fits the numbers a database is quick with.
LONG_STEPS = 1 << 62


class MonthFacts:
    """One company's month: net fees and seconds, in the shapes `compute` takes."""

    def __init__(self, company_id: str, month: date, settings: MonthSettings) -> None:
        self._company_id = company_id
        self._month = month
        self._settings = settings
        self._nets: dict[tuple[str, str], Fraction] = {}
        self._terms = payers(company_id, month)
        # What `net_totals` read: fee, origin, whether heard, how many listeners.
        self.fees: list[tuple[str, str, bool, int]] = []

    def any_streams(self) -> bool:
        """Say whether anything was streamed in the month."""
        return db.session.execute(self._labels_query().limit(1)).first() is not None

    def net_totals(self) -> tuple[Fraction, Fraction]:
        """Return the sum of all net fees, and of those of listeners without a second streamed."""
        total, idle = Fraction(0), Fraction(0)
        heard = func.coalesce(ListenerMonth.seconds, 0) > 0
        query = (
            select(self._terms.c.fee, self._terms.c.origin, heard, func.count())
            .outerjoin_from(self._terms, ListenerMonth, self._same_listener())
            .group_by(self._terms.c.fee, self._terms.c.origin, heard)
        )
        rows = db.session.execute(query).all()
        self.fees = sorted(
            (fee, origin, bool(active), count) for fee, origin, active, count in rows
        )
        for fee, origin, is_active, count in self.fees:
            sum_of_group = self._net(fee, origin) * count
            total += sum_of_group
            idle += 0 if is_active else sum_of_group
        return total, idle

    def seconds(self) -> dict[Key, int]:
        """Return the seconds of each label; without a label, and of unknown listeners, apart."""
        strangers, by_strangers = self._strangers(), 0
        found: dict[Key, int] = {}
        for label_id, name, seconds in db.session.execute(self._labels_query()):
            known = int(seconds) - strangers.get(label_id, 0)
            by_strangers += strangers.get(label_id, 0)
            if known:
                found[_key(label_id, name)] = known
        if by_strangers:
            found[Key(False, NO_LISTENER)] = by_strangers
        return found

    def unknown_seconds(self) -> int:
        """Return the seconds of listeners no users file told of."""
        return sum(self._strangers().values())

    def pairs(self) -> Iterator[Pair]:
        """Yield each paying listener's seconds of each label, a few thousand in memory."""
        names = self._names()
        query = self._heard(
            ListenerMonth.seconds, ListenerLabelMonth.label_id, ListenerLabelMonth.seconds
        )
        rows = db.session.execute(query, execution_options={"yield_per": 5000})
        for fee, origin, total_seconds, label_id, seconds in rows:
            yield Pair(self._net(fee, origin), int(total_seconds), names[label_id], int(seconds))

    def groups(self) -> Iterator[Group]:
        """Yield the pairs added up by fee and label; only Postgres has numbers that long."""
        names = self._names()
        part = func.div(cast(str(FIXED_POINT), Numeric), ListenerMonth.seconds)
        query = self._heard(
            ListenerLabelMonth.label_id,
            func.sum(ListenerLabelMonth.seconds),
            func.sum(part * ListenerLabelMonth.seconds, type_=Numeric),
            func.count(),
        ).group_by(self._terms.c.fee, self._terms.c.origin, ListenerLabelMonth.label_id)
        for fee, origin, label_id, seconds, scaled, count in db.session.execute(query):
            net = self._net(fee, origin)
            yield Group(net, names[label_id], int(seconds), int(scaled), int(count))

    def heard_by(self, names: Sequence[str], method: Method, label: str | None = None) -> Heard:
        """Return what each line's seconds are made of, by columns of streams or of terms.

        This reads the streams themselves. A part's weight is what the amount of its line is shared
        by: its seconds, or the part of each listener's net fee that they take, in fixed point.

        label: of this label only
        """
        keys = self._names() | {STRANGERS: Key(False, NO_LISTENER)}
        labelled = func.coalesce(LABELS.c.label_id, UNLABELLED)
        line = case((self._terms.c.user_id.is_(None), STRANGERS), else_=labelled)
        columns = [self._terms.c[n] if n in self._terms.c else getattr(Stream, n) for n in names]
        query = (
            select(line, func.sum(Stream.seconds), *columns)
            .select_from(Stream)
            .outerjoin(LABELS, label_of_stream(self._company_id))
            .outerjoin(self._terms, self._terms.c.user_id == Stream.user_id)
            .where(
                Stream.partition_id.in_(partition_ids(self._company_id)),
                Stream.date >= self._month,
                Stream.date < next_month(self._month),
                Stream.seconds > 0,
            )
            .group_by(line, *columns)
        )
        if label is not None:
            query = query.where(line.in_([n for n in keys if keys[n] == Key(True, label)]))
        found: Heard = {}
        if method == "pool":
            rows: Iterable[Any] = ((*row, row[1]) for row in db.session.execute(query))
        else:
            rows = self._with_listeners_weights(query, len(names))
        for number, seconds, *values, weight in rows:
            part = found.setdefault(keys[number], {}).setdefault(tuple(values), [0, 0])
            part[0] += int(seconds)
            part[1] += weight
        return found

    def _with_listeners_weights(self, query: Any, names: int) -> Iterator[Any]:
        """Yield the rows of a query of streams by listeners' fees, and what they weigh."""
        terms = [self._terms.c.fee, self._terms.c.origin]
        query = query.outerjoin(ListenerMonth, self._same_listener()).group_by(*terms)
        total = ListenerMonth.seconds
        is_postgres = db.engine.dialect.name == "postgresql"
        if is_postgres:
            db.session.execute(text("SET LOCAL work_mem = '256MB'"))
            part = cast(LONG_STEPS, BigInteger) // total
            query = query.add_columns(*terms, func.sum(part * Stream.seconds, type_=Numeric))
        else:
            query = query.add_columns(*terms, total).group_by(total)
        for row in db.session.execute(query):
            fee, origin, scaled = row[2 + names :]
            if fee is None:
                yield (*row[: 2 + names], 0)
                continue
            steps = int(scaled) if is_postgres else LONG_STEPS // int(scaled) * int(row[1])
            net = self._net(fee, origin)
            yield (*row[: 2 + names], net.numerator * steps // net.denominator)

    def _names(self) -> dict[int, Key]:
        rows = db.session.execute(self._labels_query())
        return {label_id: _key(label_id, name) for label_id, name, _ in rows}

    def _heard(self, *columns: Any) -> Any:
        """Return the query of what paying listeners heard, by listener and label."""
        return (
            select(self._terms.c.fee, self._terms.c.origin, *columns)
            .join_from(self._terms, ListenerMonth, self._same_listener())
            .join(
                ListenerLabelMonth,
                and_(
                    ListenerLabelMonth.company_id == self._company_id,
                    ListenerLabelMonth.month == self._month,
                    ListenerLabelMonth.user_id == ListenerMonth.user_id,
                ),
            )
            .where(ListenerLabelMonth.seconds > 0)
        )

    def _net(self, fee: str, origin: str) -> Fraction:
        known = self._nets.get((fee, origin))
        if known is None:
            share = self._settings.shares.get(origin)
            if share is None:
                raise ReportError(
                    f"The origin {origin} has no share in {self._month:%Y-%m}; "
                    "an admin sets it under Label revenue, Settings."
                )
            known = net_fee(Decimal(fee), Decimal(share), digits(self._settings.currency))
            self._nets[fee, origin] = known
        return known

    def _same_listener(self) -> Any:
        return and_(
            ListenerMonth.company_id == self._company_id,
            ListenerMonth.month == self._month,
            ListenerMonth.user_id == self._terms.c.user_id,
        )

    def _labels_query(self) -> Any:
        return (
            select(LabelMonth.label_id, Label.name, LabelMonth.seconds)
            .outerjoin_from(LabelMonth, Label, Label.id == LabelMonth.label_id)
            .where(LabelMonth.company_id == self._company_id, LabelMonth.month == self._month)
        )

    def _strangers(self) -> dict[int, int]:
        """Return the seconds of each label that listeners without terms heard."""
        known = select(TermsInForce.user_id).where(
            TermsInForce.company_id == self._company_id,
            TermsInForce.user_id == ListenerMonth.user_id,
        )
        strangers = select(ListenerMonth.user_id).where(
            ListenerMonth.company_id == self._company_id,
            ListenerMonth.month == self._month,
            ~known.exists(),
        )
        query = (
            select(ListenerLabelMonth.label_id, func.sum(ListenerLabelMonth.seconds))
            .where(
                ListenerLabelMonth.company_id == self._company_id,
                ListenerLabelMonth.month == self._month,
                ListenerLabelMonth.user_id.in_(strangers),
            )
            .group_by(ListenerLabelMonth.label_id)
        )
        return {label_id: int(seconds) for label_id, seconds in db.session.execute(query)}


def payers(company_id: str, month: date) -> Subquery:
    """Return the terms that hold in a month, one row a paying listener, as a subquery."""
    heard = select(ListenerMonth.user_id).where(
        ListenerMonth.company_id == company_id,
        ListenerMonth.month == month,
        ListenerMonth.user_id == TermsInForce.user_id,
    )
    return (
        select(
            TermsInForce.user_id, TermsInForce.fee, TermsInForce.origin, TermsInForce.product_type
        )
        .where(
            TermsInForce.company_id == company_id,
            TermsInForce.from_month <= month,
            TermsInForce.until_month > month,
            or_(~TermsInForce.early, heard.exists()),
        )
        .subquery()
    )


def _key(label_id: int, name: str | None) -> Key:
    if label_id == UNLABELLED or name is None:
        return Key(False, NO_LABEL)
    return Key(True, name)
