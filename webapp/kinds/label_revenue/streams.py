"""Single streams, as programs make, read, change and remove them; the sums move along.

A stream's ID is a UUID made of its number, so it can be found by it in constant time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from webapp.accounts import Scope
from webapp.engine.retention import not_kept
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.intake import DateOrder
from webapp.kinds.label_revenue import quality, sums
from webapp.kinds.label_revenue.bodies import FIELDS, BadField, NewStream, StreamsQuery, read_stream
from webapp.kinds.label_revenue.ledger import SLUG, api_batch, in_batch, partition_ids, unit_of_work
from webapp.kinds.label_revenue.models import Label, LabelInForce, Ledger, Stream
from webapp.lib.batches import batched
from webapp.lib.keyset import one_page

# A UUID of version 8 (RFC 9562: made up by us) whose lower 62 bits are the stream's number.
ID_BASE = (0x5374_7265_616D_8000 << 64) | (0x8 << 60)
ID_MASK = (1 << 62) - 1


def public_id(number: int) -> str:
    """Return a stream's ID as everybody outside sees it."""
    return str(UUID(int=ID_BASE | number))


def number_of(text: str) -> int | None:
    """Return the number in a stream's ID, None where it is none of ours."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    try:
        value = UUID(text).int
    except ValueError:
        return None
    number = value & ID_MASK
    return number if value == ID_BASE | number else None


def date_order(company_id: str) -> DateOrder | None:
    """Return how the company's last streams file wrote its dates."""
    order: DateOrder | None = db.session.scalar(
        select(Ledger.date_order).where(Ledger.company_id == company_id)
    )
    return order


def create(company_id: str, bodies: list[Any], by: Scope) -> list[dict[str, Any]]:
    """Store streams, all or none, and return them."""
    order = date_order(company_id)
    rows = []
    for place, body in enumerate(bodies, start=1):
        try:
            rows.append(read_stream(NewStream, body, order).model_dump())
        except BadField as bad:
            if len(bodies) > 1:
                raise BadField("", f"Stream {place}: {bad.message}") from None
            raise
    for row in rows:
        _check_kept(row["date"])
    with unit_of_work(company_id, by) as work:
        sums.process_pending_within(work)
        batch = api_batch(work)
        first = work.ledger.next_id
        work.ledger.next_id += len(rows)
        stored = [
            {"partition_id": batch.partition_id, "id": number, "batch_no": batch.no} | row
            for number, row in enumerate(rows, first)
        ]
        work.connection.execute(insert(Stream), stored)
        batch.streams += len(rows)
        sums.aggregate(work, [in_batch(batch), Stream.id >= first], +1)
        quality.mark_sent(work)
        work.record("stored streams", f"{len(stored)}")
    return described(company_id, stored)


def _labels(company_id: str, rows: list[dict[str, Any]]) -> dict[tuple[str, date], str | None]:
    """Return the label's name by track and day, None for a track without a label."""
    steps: dict[str, list[tuple[date, str | None]]] = {}
    for wanted in batched(sorted({row["track_id"] for row in rows})):
        query = (
            select(LabelInForce.track_id, LabelInForce.from_month, Label.name)
            .outerjoin(Label, Label.id == LabelInForce.label_id)
            .where(
                LabelInForce.company_id == company_id,
                LabelInForce.track_id.in_(wanted),
            )
            .order_by(LabelInForce.from_month)
        )
        for track_id, month, name in db.session.execute(query):
            steps.setdefault(track_id, []).append((month, name))
    return {
        (row["track_id"], row["date"]): [
            label for month, label in steps[row["track_id"]] if month <= row["date"]
        ][-1]
        for row in rows
        if row["track_id"] in steps
    }


def described(company_id: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return streams as the API shows them, with the label of their track in their month."""
    labels = _labels(company_id, rows)
    return [
        {name: row[name] for name in FIELDS}
        | {
            "id": public_id(row["id"]),
            "date": row["date"].isoformat(),
            "label": labels.get((row["track_id"], row["date"])),
        }
        for row in rows
    ]


def find(company_id: str, stream_id: str) -> dict[str, Any]:
    """Return a stream's row; another company's is as unknown as none."""
    number = number_of(stream_id)
    found = None
    if number is not None:
        query = select(Stream.__table__).where(
            Stream.partition_id.in_(partition_ids(company_id)), Stream.id == number
        )
        found = db.session.execute(query).mappings().first()
    if found is None:
        raise NotFound("Stream ID not found")
    return dict(found)


def change(company_id: str, stream_id: str, fields: Mapping[str, Any], by: Scope) -> dict[str, Any]:
    """Change some fields of a stream and return it."""
    with unit_of_work(company_id, by) as work:
        sums.process_pending_within(work)
        before = find(company_id, stream_id)
        for day in (before["date"], fields.get("date", before["date"])):
            _check_kept(day)
        after = before | dict(fields)
        sums.aggregate(work, [_same(before)], -1)
        work.connection.execute(update(Stream).where(_same(before)).values(dict(fields)))
        sums.aggregate(work, [_same(before)], +1)
        quality.mark_sent(work, [before["id"]])
        work.record("changed stream", public_id(before["id"]))
    return described(company_id, [after])[0]


def remove(company_id: str, stream_id: str, by: Scope) -> dict[str, Any]:
    """Remove a stream and return it as it was."""
    with unit_of_work(company_id, by) as work:
        sums.process_pending_within(work)
        gone = find(company_id, stream_id)
        _check_kept(gone["date"])
        sums.aggregate(work, [_same(gone)], -1)
        work.connection.execute(delete(Stream).where(_same(gone)))
        quality.mark_sent(work)
        work.record("deleted stream", public_id(gone["id"]))
    return described(company_id, [gone])[0]


def _check_kept(day: date) -> None:
    if sentence := not_kept(SLUG, day, "Streams"):
        raise BadField("date", sentence)


def _same(row: Mapping[str, Any]) -> Any:
    return (Stream.partition_id == row["partition_id"]) & (Stream.id == row["id"])


def page(company_id: str, wanted: StreamsQuery) -> list[dict[str, Any]]:
    """Return a page of streams, newest first by date and number.

    One more than the limit: whether a page follows.
    """
    conditions: list[Any] = [Stream.partition_id.in_(partition_ids(company_id))]
    if wanted.start:
        conditions.append(Stream.date >= wanted.start)
    if wanted.end:
        conditions.append(Stream.date <= wanted.end)
    if wanted.user_id is not None:
        conditions.append(Stream.user_id == wanted.user_id)
    if wanted.label is not None:
        labelled = (
            select(LabelInForce.track_id)
            .join(Label, Label.id == LabelInForce.label_id)
            .where(sums.label_of_stream(company_id), Label.name == wanted.label)
        )
        conditions.append(labelled.correlate(Stream).exists())
    query = select(Stream.__table__).where(*conditions)
    query = one_page(
        query, (Stream.date, Stream.id), wanted.cursor, wanted.limit, newest_first=True
    )
    return [dict(row) for row in db.session.execute(query).mappings()]
