"""What users and tracks files say: kept only where it differs from what is known already.

Each entry carries its batch, and the last batch counts, so undoing a batch brings back what it
replaced. A track's new label moves the seconds that were streamed before, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import date
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import and_, delete, func, insert, select
from sqlalchemy.orm import aliased

from webapp.intake import Problem
from webapp.kinds.label_revenue import sums
from webapp.kinds.label_revenue.books import Writer, label_ids
from webapp.kinds.label_revenue.models import (
    UNLABELLED,
    Batch,
    LabelMonth,
    ListenerMonth,
    Stream,
    Terms,
    Track,
)
from webapp.kinds.label_revenue.rows import TrackRow, UserRow

T = TypeVar("T")
ROWS_AT_ONCE = 500
REPEATS_SHOWN = 5


def first_of_each(
    rows: Iterable[tuple[int, T]],
    key_of: Callable[[T], Hashable],
    file: str,
    column: str,
    reject: Callable[[Problem], None],
    notes: list[str],
) -> Iterator[T]:
    """Yield each key's first row; the same row again is told, another one is a problem."""
    seen: dict[Hashable, tuple[int, int]] = {}
    repeats = 0
    for line, row in rows:
        known = seen.get(key_of(row))
        if known is None:
            seen[key_of(row)] = (line, hash(row))
            yield row
        elif known[1] != hash(row):
            sentence = f"{key_of(row)} is in line {known[0]} already, with other values."
            reject(Problem(file, line, column, sentence, (str(key_of(row)),)))
        else:
            repeats += 1
            if repeats <= REPEATS_SHOWN:
                notes.append(f"{file}, line {line}: same as line {known[0]}.")


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    stream = iter(rows)
    while chunk := list(islice(stream, ROWS_AT_ONCE)):
        yield chunk


def store_terms(
    writer: Writer, rows: Iterable[UserRow], from_month: date, batch_no: int
) -> tuple[int, int]:
    """Keep what listeners pay from a month on; return how many rows there were and how many new."""
    count = changed = 0
    any_known = _has_any(writer, Terms)
    for chunk in _chunks(rows):
        count += len(chunk)
        user_ids = [row.user_id for row in chunk]
        known = _terms_in(writer, user_ids, from_month) if any_known else {}
        new = [
            {"company_id": writer.company_id, "from_month": from_month, "batch_no": batch_no}
            | row._asdict()
            for row in chunk
            if known.get(row.user_id) != row[1:]
        ]
        changed += len(new)
        if new:
            writer.connection.execute(insert(Terms), new)
    touch_terms(writer, batch_no)
    return count, changed


def _has_any(writer: Writer, model: Any) -> bool:
    """Say whether anything is known; a first load need not look up what cannot be there."""
    query = select(model.batch_no).where(model.company_id == writer.company_id).limit(1)
    return writer.connection.scalar(query) is not None


def _terms_in(writer: Writer, user_ids: list[int], month: date) -> dict[int, tuple[str, str, str]]:
    """Return what holds for listeners in a month: the last to begin, of its batches the last."""
    query = select(Terms.user_id, Terms.product_type, Terms.fee, Terms.origin).where(
        Terms.company_id == writer.company_id,
        Terms.user_id.in_(user_ids),
        Terms.from_month <= month,
    )
    rows = writer.connection.execute(query.order_by(Terms.from_month, Terms.batch_no))
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def drop_terms(writer: Writer, batch_no: int) -> None:
    """Forget the terms of a batch."""
    mine = and_(Terms.company_id == writer.company_id, Terms.batch_no == batch_no)
    touch_terms(writer, batch_no)
    writer.connection.execute(delete(Terms).where(mine))


def touch_terms(writer: Writer, batch_no: int) -> None:
    """Mark the months that the terms of a batch matter to: also earlier ones, see `payers`."""
    mine = and_(Terms.company_id == writer.company_id, Terms.batch_no == batch_no)
    first = writer.connection.scalar(select(func.min(Terms.from_month)).where(mine))
    if first is None:
        return
    writer.touch_from(first)
    other = aliased(Terms)
    older = select(other.user_id).where(
        other.company_id == writer.company_id,
        other.user_id == Terms.user_id,
        other.from_month < first,
    )
    newcomers = select(Terms.user_id).where(mine, ~older.exists())
    writer.touch(
        writer.connection.scalars(
            select(ListenerMonth.month)
            .where(
                ListenerMonth.company_id == writer.company_id,
                ListenerMonth.month < first,
                ListenerMonth.user_id.in_(newcomers),
            )
            .distinct()
        )
    )


def store_tracks(writer: Writer, rows: Iterable[TrackRow], batch_no: int) -> int:
    """Keep the names and labels of tracks that differ from what is known; return the rows read."""
    count = 0
    any_known = _has_any(writer, Track)
    ids: dict[str, int] = {}
    for chunk in _chunks(rows):
        count += len(chunk)
        ids |= label_ids(writer, {row.label for row in chunk if row.label} - ids.keys())
        known = _tracks_of(writer, [row.track_id for row in chunk]) if any_known else {}
        said = {
            row.track_id: (row.name, ids[row.label] if row.label else UNLABELLED) for row in chunk
        }
        new = [
            {
                "company_id": writer.company_id,
                "track_id": track_id,
                "batch_no": batch_no,
                "name": name,
                "label_id": label_id,
            }
            for track_id, (name, label_id) in said.items()
            if known.get(track_id) != (name, label_id)
        ]
        if new:
            writer.connection.execute(insert(Track), new)
    return count


def _tracks_of(writer: Writer, track_ids: list[str]) -> dict[str, tuple[str, int]]:
    query = select(Track.track_id, Track.name, Track.label_id).where(
        Track.company_id == writer.company_id, Track.track_id.in_(track_ids)
    )
    rows = writer.connection.execute(query.order_by(Track.batch_no))
    return {row[0]: (row[1], row[2]) for row in rows}


def relabel(writer: Writer, batch_no: int) -> None:
    """Move the seconds of earlier streams whose track a new batch gave another label."""
    if not _moves_anything(writer, batch_no, coming=True):
        return
    others = _earlier_streams(writer, batch_no)
    sums.fold(writer, others, -1, without_batch=batch_no)
    sums.fold(writer, others, +1)


def unlabel(writer: Writer, batch_no: int) -> None:
    """Forget the tracks of a batch; seconds streamed go back to the labels told before."""
    mine = and_(Track.company_id == writer.company_id, Track.batch_no == batch_no)
    if _moves_anything(writer, batch_no, coming=False):
        others = _earlier_streams(writer, batch_no)
        sums.fold(writer, others, -1)
        sums.fold(writer, others, +1, without_batch=batch_no)
    writer.connection.execute(delete(Track).where(mine))


def _earlier_streams(writer: Writer, batch_no: int) -> list[Any]:
    """Return the conditions of summed streams of other batches, of tracks this batch tells of."""
    told = select(Track.track_id).where(
        Track.company_id == writer.company_id, Track.batch_no == batch_no
    )
    waiting = select(Batch.no).where(Batch.company_id == writer.company_id, Batch.summed.is_(False))
    return [
        Stream.track_id.in_(told),
        Stream.batch_no != batch_no,
        Stream.batch_no.not_in(waiting),
    ]


def _moves_anything(writer: Writer, batch_no: int, *, coming: bool) -> bool:
    """Say whether a batch's tracks can matter to other streams: finding those costs a scan.

    coming: the batch is being loaded, so its tracks count for what was told before; a track nobody
            told of can only have been heard where seconds stand without a label
    """
    mine = and_(Track.company_id == writer.company_id, Track.batch_no == batch_no)
    if writer.connection.scalar(select(Track.track_id).where(mine).limit(1)) is None:
        return False
    heard = writer.connection.scalars(
        select(LabelMonth.label_id).where(LabelMonth.company_id == writer.company_id).distinct()
    ).all()
    if not heard:
        return False
    labels = sums.labels_of_tracks(writer.company_id, without_batch=batch_no)
    before = func.coalesce(labels.c.label_id, UNLABELLED)
    differs = (
        select(Track.track_id)
        .outerjoin(labels, labels.c.track_id == Track.track_id)
        .where(
            mine,
            before != Track.label_id,
            before.in_(heard) if coming else Track.label_id.in_(heard),
        )
        .limit(1)
    )
    return writer.connection.scalar(differs) is not None
