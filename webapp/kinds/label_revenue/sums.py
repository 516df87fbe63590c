"""Monthly sums: kept up to date as streams change, proved against the streams by `recount`.

Small changes move the sums in their own transaction. A batch of millions is committed first, marked
`summed=False`, and added by a worker or by the next reader, whoever comes first (`settle`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    Select,
    Table,
    and_,
    case,
    cast,
    column,
    delete,
    func,
    literal,
    select,
    table,
    text,
    true,
)

from webapp.extensions import db
from webapp.kinds.label_revenue.books import (
    BEGINNING,
    Writer,
    index_shelf,
    partition,
    shelf_ids,
    upsert,
    writing,
)
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Batch,
    Heard,
    LabelMonth,
    ListenerMonth,
    Stream,
    Terms,
    Track,
)

FOLD = table(
    "label_revenue_fold",
    column("month", Date),
    column("user_id", BigInteger),
    column("label_id", Integer),
    column("seconds", BigInteger),
    column("streams", BigInteger),
)
SUMS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Heard, ("month", "user_id", "label_id")),
    (ListenerMonth, ("month", "user_id")),
    (LabelMonth, ("month", "label_id")),
)


class Shift(NamedTuple):
    """A change of the sums: so many seconds and streams more (or fewer) of a listener and label."""

    month: date
    user_id: int
    label_id: int
    seconds: int
    streams: int


def month_of(connection: Connection) -> ColumnElement[date]:
    """Return the month of a stream as the database computes it."""
    if connection.dialect.name == "postgresql":
        return cast(func.date_trunc("month", cast(Stream.date, DateTime)), Date)
    return func.date(Stream.date, "start of month", type_=Date)


def labels_of_tracks(company_id: str, without_batch: int | None = None) -> Any:
    """Return the label of each track, as a subquery: the last batch that told of it counts."""
    known = [Track.company_id == company_id]
    if without_batch is not None:
        known.append(Track.batch_no != without_batch)
    ranked = (
        select(
            Track.track_id,
            Track.label_id,
            func.row_number()
            .over(partition_by=Track.track_id, order_by=Track.batch_no.desc())
            .label("place"),
        )
        .where(*known)
        .subquery()
    )
    return select(ranked.c.track_id, ranked.c.label_id).where(ranked.c.place == 1).subquery()


def grouped(
    connection: Connection, company_id: str, where: Iterable[Any], without_batch: int | None = None
) -> Select[Any]:
    """Return the query that adds up a company's streams by month, listener and label."""
    labels = labels_of_tracks(company_id, without_batch)
    month = month_of(connection)
    label_id = func.coalesce(labels.c.label_id, UNLABELLED)
    heard = case((Stream.seconds > 0, Stream.seconds), else_=0)
    return (
        select(
            month.label("month"),
            Stream.user_id.label("user_id"),
            label_id.label("label_id"),
            cast(func.sum(heard), BigInteger).label("seconds"),
            func.count().label("streams"),
        )
        .select_from(Stream)
        .outerjoin(labels, labels.c.track_id == Stream.track_id)
        .where(Stream.shelf_id.in_(shelf_ids(company_id)), *where)
        .group_by(month, Stream.user_id, label_id)
    )


def fold(
    writer: Writer, where: Iterable[Any], sign: int, without_batch: int | None = None
) -> set[date]:
    """Add the streams of a condition to the sums (or take them out); return the months touched."""
    connection = writer.connection
    if writer.is_postgres:
        connection.execute(text("SET LOCAL work_mem = '256MB'"))
    query = grouped(connection, writer.company_id, where, without_batch)
    _fill(connection, query)
    months = set(connection.scalars(select(FOLD.c.month).distinct()))
    for model, keys in SUMS:
        _move(writer, model, keys, sign)
    if sign < 0:
        drop_empty(writer, months)
    connection.execute(text(f"DROP TABLE {FOLD.name}"))
    writer.touch(months)
    return months


def _fill(connection: Connection, query: Select[Any]) -> None:
    """Add up once, into a temporary table that all three sums are moved by."""
    connection.execute(
        text(
            f"CREATE TEMPORARY TABLE {FOLD.name} (month DATE, user_id BIGINT, label_id INTEGER, "
            "seconds BIGINT, streams BIGINT)"
        )
    )
    target: Any = FOLD
    connection.execute(target.insert().from_select([c.name for c in FOLD.c], query))


def _move(writer: Writer, model: Any, keys: tuple[str, ...], sign: int) -> None:
    seconds = cast(func.sum(FOLD.c.seconds) * sign, BigInteger)
    streams = cast(func.sum(FOLD.c.streams) * sign, BigInteger)
    picked = [FOLD.c[key] for key in keys]
    rows = (
        select(literal(writer.company_id, Heard.company_id.type), *picked, seconds, streams)
        .where(FOLD.c.streams > 0)
        .group_by(*picked)
        .order_by(*picked)
    )
    statement = upsert(writer.connection, model).from_select(
        ["company_id", *keys, "seconds", "streams"], rows
    )
    writer.connection.execute(_added(statement, model, keys))


def _added(statement: Any, model: Any, keys: tuple[str, ...]) -> Any:
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["company_id", *keys],
        set_={"seconds": model.seconds + new.seconds, "streams": model.streams + new.streams},
    )


def shift(writer: Writer, changes: Iterable[Shift]) -> None:
    """Move the sums by single changes, in the transaction of the change itself."""
    moved = [change for change in changes if change.seconds or change.streams]
    for model, keys in SUMS:
        added: dict[tuple[Any, ...], list[int]] = {}
        for change in moved:
            total = added.setdefault(tuple(getattr(change, key) for key in keys), [0, 0])
            total[0] += change.seconds
            total[1] += change.streams
        rows = [
            {"company_id": writer.company_id, "seconds": seconds, "streams": streams}
            | dict(zip(keys, values, strict=True))
            for values, (seconds, streams) in sorted(added.items())
        ]
        if rows:
            writer.connection.execute(_added(upsert(writer.connection, model), model, keys), rows)
    months = {change.month for change in moved}
    drop_empty(writer, months)
    writer.touch(months)


def drop_empty(writer: Writer, months: Iterable[date]) -> None:
    """Remove sums of which no stream is left."""
    for model, _ in SUMS:
        writer.connection.execute(
            delete(model).where(
                model.company_id == writer.company_id,
                model.month.in_(list(months)),
                model.streams == 0,
            )
        )


def pending(company_id: str) -> list[Batch]:
    """Return the batches whose sums are still to be added."""
    query = select(Batch).where(Batch.company_id == company_id, Batch.summed.is_(False))
    return list(db.session.scalars(query))


def settle(company_id: str) -> int:
    """Add the sums of batches that wait for it; return how many. Safe to call at any time."""
    if not pending(company_id):
        return 0
    with writing(company_id) as writer:
        return settle_within(writer)


def settle_within(writer: Writer) -> int:
    """Add the sums that wait, in a transaction that is open already."""
    from webapp.kinds.label_revenue.checks import batch_warnings

    waiting = pending(writer.company_id)
    for batch in waiting:
        if batch.own_shelf and batch.shelf_id is not None:
            # Numbers rise from the first row to the last: a block range index finds one of them.
            index_shelf(writer, batch.shelf_id, "brin (id) WITH (pages_per_range = 16)")
            _tell_planner(writer, partition(batch.shelf_id), _name(Terms), _name(Track))
        on_shelf = and_(Stream.shelf_id == batch.shelf_id, Stream.batch_no == batch.no)
        months = fold(writer, [on_shelf], +1)
        batch.first_month, batch.last_month = min(months), max(months)
        batch.warnings = [*batch.warnings, *batch_warnings(writer.connection, batch)]
        batch.summed = True
        if batch.own_shelf:
            _tell_planner(writer, *(_name(model) for model, _ in SUMS))
    return len(waiting)


def _tell_planner(writer: Writer, *tables: str) -> None:
    """Let Postgres see what a large batch changed; its plans would be for empty tables else."""
    for name in tables:
        writer.connection.execute(text(f"ANALYZE {name}"))


class Difference(NamedTuple):
    """A sum that does not match the streams: its table, and how many rows differ."""

    table: str
    rows: int


def recount(company_id: str) -> list[Difference]:
    """Compare the sums with the streams, put right what differs, and return what did."""
    with writing(company_id) as writer:
        settle_within(writer)
        settled = set(writer.touched)
        before = {model: _content(writer, model, keys) for model, keys in SUMS}
        for model, _ in SUMS:
            writer.connection.execute(delete(model).where(model.company_id == company_id))
        fold(writer, [true()], +1)
        found = []
        for model, keys in SUMS:
            after = _content(writer, model, keys)
            if wrong := len(before[model] ^ after):
                found.append(Difference(_name(model), wrong))
        if found:
            writer.touch_from(BEGINNING)
        else:
            # Only what was added up just now has changed; its marks must stay.
            writer.touched &= settled
    return found


def _name(model: Any) -> str:
    mapped: Table = model.__table__
    return mapped.name


def _content(writer: Writer, model: Any, keys: tuple[str, ...]) -> set[int]:
    """Return a digest of each row, so that millions of them fit in memory."""
    columns = [getattr(model, key) for key in (*keys, "seconds", "streams")]
    query = select(*columns).where(model.company_id == writer.company_id)
    rows = writer.connection.execute(query, execution_options={"yield_per": 5000})
    return {hash(tuple(row)) for row in rows}
