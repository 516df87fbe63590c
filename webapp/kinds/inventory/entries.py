"""Entries: checked against the company's periods and units, stored by their id, listed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, select, text, update

from webapp.errors import Conflict, InvalidParams, NotFound
from webapp.extensions import db
from webapp.intake import Row
from webapp.kinds.inventory.bodies import read_entry
from webapp.kinds.inventory.compute import emissions_of
from webapp.kinds.inventory.models import Entry, Period, Unit
from webapp.kinds.inventory.places import list_periods, read_tree
from webapp.lib.batches import batched
from webapp.lib.keyset import one_page
from webapp.lib.texts import storable
from webapp.lib.upserts import upsert

BATCH = 1000
# New entries after which the planner looks at them, then after four times as many, and so on.
FIRST_LOOK = 2000
VALUES = tuple(
    column.name for column in Entry.__table__.columns if column.name not in {"company_id", "id"}
)
# Spreadsheets keep 15 digits: two numbers that differ by less are the same one there.
NUMBERS, SHEET_STEP = ("quantity", "factor", "warming_potential"), Decimal("1e-15")
LOCKED = "The period is locked; an admin can unlock it."


@dataclass
class Checker:
    """Turns what was sent into rows, or says what is wrong, one entry at a time."""

    company_id: str
    _periods: dict[str, list[Period]] = field(default_factory=dict)
    _units: dict[str, list[Unit]] = field(default_factory=dict)
    _seen: dict[str, Any] = field(default_factory=dict)
    _in_locked: set[str] | None = None

    def __post_init__(self) -> None:
        for period in list_periods(self.company_id):
            for name in {period.id, _folded(period.short_name)}:
                self._periods.setdefault(name, []).append(period)
        for unit, _ in read_tree(self.company_id).walk():
            for name in {unit.id, _folded(unit.name)}:
                self._units.setdefault(name, []).append(unit)

    def check(self, raw: Any, place: Any) -> dict[str, Any]:
        """Return the row of an entry.

        place: where it stood, to name an id that occurs twice
        Raises: InvalidParams with a sentence per field
        """
        entry, errors = read_entry(raw)
        # An id is taken by an entry that can be read, but nobody may use a taken one.
        first = (
            self._seen.get(entry.id, place) if errors else self._seen.setdefault(entry.id, place)
        )
        if entry.id is not None and first != place:
            errors["id"] = f"This id came before, at {first}."
        period = _one(self._periods, entry.period_id, "period_id", "period", errors)
        unit = _one(self._units, entry.unit_id, "unit_id", "unit", errors)
        if entry.basis and entry.scope not in {2, None}:
            errors["basis"] = "Only entries of scope 2 are by location or by market."
        if period is not None:
            entry.start_date = entry.start_date or period.start_date
            entry.end_date = entry.end_date or period.end_date
            _check_days(period, entry.start_date, entry.end_date, errors)
        if errors or period is None or unit is None:
            raise InvalidParams(errors)
        row = entry.model_dump(exclude={"period_id", "unit_id", "emission_factor"})
        return row | {
            "company_id": self.company_id,
            "period_key": period.key,
            "unit_key": unit.key,
            "factor": entry.emission_factor,
        }

    def stands_locked(self, entry_id: str) -> bool:
        """Return whether an entry with this id stands in a locked period; the first call asks."""
        if self._in_locked is None:
            query = select(Entry.id).join(Period, Period.key == Entry.period_key)
            mine = query.where(Entry.company_id == self.company_id, Period.is_locked)
            self._in_locked = set(db.session.scalars(mine))
        return entry_id in self._in_locked


def _check_days(period: Period, start: date, end: date, errors: dict[str, str]) -> None:
    if period.is_locked:
        errors["period_id"] = LOCKED
    outside = f"The period runs from {period.start_date} to {period.end_date}."
    if not period.start_date <= start <= period.end_date:
        errors["start_date"] = outside
    if not period.start_date <= end <= period.end_date:
        errors["end_date"] = outside
    elif end < start:
        errors["end_date"] = "The end is before the start."


def _folded(name: str) -> str:
    """Return a name as it is compared: in any case, with any gaps, such as a cell's line breaks."""
    return " ".join(name.split()).casefold()


def _one(known: dict[str, list[Any]], text: str | None, name: str, what: str, errors: Any) -> Any:
    if text is None:
        return None
    found = known.get(text.lower()) or known.get(_folded(text)) or []
    if len(found) == 1:
        return found[0]
    errors[name] = (
        f"Several {what}s have this name; write the id."
        if found
        else f"There is no {what} {text[:60]!r}; make it, or write the name or id of one there is."
    )
    return None


def check_all(company_id: str, bodies: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the rows of a list; raises InvalidParams with names like `entries.3.quantity`."""
    checker, rows = Checker(company_id), []
    errors: dict[str, str] = {}
    for place, body in enumerate(bodies):
        try:
            rows.append(checker.check(body, f"entries.{place}"))
        except InvalidParams as error:
            for name, sentence in error.errors.items():
                errors.setdefault(f"entries.{place}.{name}", sentence)
        if len(errors) >= 100:
            break
    if errors:
        message = f"{len(errors)} values cannot be used." if len(errors) > 1 else None
        raise InvalidParams(errors, message)
    return rows


def store(
    company_id: str, rows: Iterable[dict[str, Any]], *, of_sheet: bool = False
) -> dict[str, int]:
    """Store entries by their id; return how many were created, updated, unchanged.

    The caller commits, beside what the audit log says of it.
    of_sheet: numbers come from a workbook, which may have cut what is stored already
    Raises: Conflict when a period was locked meanwhile, or an entry would leave a locked one
    """
    # A write holds the periods until the end on both databases: none is locked in the middle.
    mine = Period.company_id == company_id
    db.session.execute(update(Period).where(mine).values(is_locked=Period.is_locked))
    locked = set(db.session.scalars(select(Period.key).where(mine, Period.is_locked)))
    counted = {"created": 0, "updated": 0, "unchanged": 0}
    look_at = FIRST_LOOK
    for batch in batched(rows, BATCH):
        try:
            _store_batch(company_id, batch, locked, counted, of_sheet)
        except Conflict:
            db.session.rollback()
            raise
        if counted["created"] >= look_at:
            # Postgres would go on searching as in a small table.
            if db.engine.dialect.name == "postgresql":
                db.session.execute(text("ANALYZE (SKIP_LOCKED) inventory_entry"))
            look_at *= 4
    return counted


def _store_batch(
    company_id: str,
    batch: list[dict[str, Any]],
    locked: set[int],
    counted: dict[str, int],
    of_sheet: bool,
) -> None:
    columns = [getattr(Entry, name) for name in VALUES]
    query = select(Entry.id, *columns).where(
        Entry.company_id == company_id, Entry.id.in_([row["id"] for row in batch])
    )
    known = {found[0]: tuple(found[1:]) for found in db.session.execute(query)}
    changed = []
    for row in batch:
        before = known.get(row["id"])
        if before and of_sheet:
            row |= _uncut(dict(zip(VALUES, before, strict=True)), row)
        after = tuple(row[name] for name in VALUES)
        if before == after:
            counted["unchanged"] += 1
            continue
        for values in (before, after):
            if values and values[VALUES.index("period_key")] in locked:
                raise Conflict(f"Entry {row['id']}: {LOCKED}")
        counted["updated" if before else "created"] += 1
        changed.append(row)
    if changed:
        statement = upsert(db.session, Entry)
        new = {name: getattr(statement.excluded, name) for name in VALUES}
        keys = ["company_id", "id"]
        db.session.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), changed)


def _uncut(kept: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return the stored numbers of an entry that a workbook cannot tell from those of a row."""
    both = [name for name in NUMBERS if kept[name] is not None and row[name] is not None]
    return {
        name: kept[name]
        for name in both
        if abs(kept[name] - row[name]) < abs(kept[name]) * SHEET_STEP
    }


def packed(row: dict[str, Any]) -> bytes:
    """Return a checked row as one line of text; `unpacked` gives it back."""
    return json.dumps(row, default=str).encode() + b"\n"


def unpacked(line: bytes) -> dict[str, Any]:
    """Return the row of a line of `packed`."""
    row: dict[str, Any] = json.loads(line)
    for name in NUMBERS:
        row[name] = None if row[name] is None else Decimal(row[name])
    for name in ("start_date", "end_date"):
        row[name] = date.fromisoformat(row[name])
    return row


def find_entry(company_id: str, entry_id: str) -> dict[str, Any]:
    """Return one entry of the company, as `read_entries` does. Raises: NotFound"""
    found = storable(entry_id) and read_entries(
        company_id, period=None, after=None, limit=0, only=entry_id
    )
    if not found:
        raise NotFound("There is no such entry.")
    return found[0]


def read_entries(
    company_id: str,
    *,
    period: Period | None,
    after: str | None,
    limit: int,
    only: str | None = None,
) -> list[dict[str, Any]]:
    """Return entries by id, those after an id where one is given; one more than the limit."""
    query = (
        select(Entry, Period.id, Unit.id)
        .join(Period, Period.key == Entry.period_key)
        .join(Unit, Unit.key == Entry.unit_key)
        .where(Entry.company_id == company_id)
    )
    if period is not None:
        query = query.where(Entry.period_key == period.key)
    if only is not None:
        query = query.where(Entry.id == only)
    query = one_page(query, (Entry.id,), (after,) if after else None, limit)
    return [
        {
            "id": entry.id,
            "period_id": period_id,
            "unit_id": unit_id,
            "scope": entry.scope,
            "category": entry.category,
            "description": entry.description,
            "quantity": entry.quantity,
            "unit_of_measure": entry.unit_of_measure,
            "emission_factor": entry.factor,
            "factor_source": entry.factor_source,
            "gas": entry.gas,
            "warming_potential": entry.warming_potential,
            "basis": entry.basis,
            "is_biogenic": entry.is_biogenic,
            "emissions": emissions_of(entry.quantity, entry.factor, entry.warming_potential),
            "start_date": entry.start_date.isoformat(),
            "end_date": entry.end_date.isoformat(),
        }
        for entry, period_id, unit_id in db.session.execute(query)
    ]


def delete_entry(company_id: str, entry_id: str) -> None:
    """Delete an entry; the caller commits. Raises: NotFound, Conflict in a locked period"""
    entry = db.session.get(Entry, (company_id, entry_id))
    if entry is None:
        raise NotFound("There is no such entry.")
    query = select(Period.is_locked).where(Period.key == entry.period_key).with_for_update()
    if db.session.scalar(query):
        db.session.rollback()
        raise Conflict(LOCKED)
    db.session.execute(delete(Entry).where(Entry.company_id == company_id, Entry.id == entry_id))


def forget_periods(month: date) -> Iterator[int]:
    """Delete locked periods that ended before a month, their entries first; yield step by step."""
    old = select(Period).where(Period.is_locked, Period.end_date < month).with_for_update()
    while period := db.session.scalar(old.limit(1)):
        query = select(Entry.id).where(Entry.period_key == period.key).limit(BATCH)
        ids = db.session.scalars(query).all()
        mine = Entry.company_id == period.company_id
        db.session.execute(delete(Entry).where(mine, Entry.id.in_(ids)))
        if not ids:
            db.session.delete(period)
        db.session.commit()
        yield len(ids)


def counts_by_period(company_id: str) -> dict[int, int]:
    """Return how many entries each period has, by its key."""
    query = select(Entry.period_key, func.count()).where(Entry.company_id == company_id)
    found = db.session.execute(query.group_by(Entry.period_key))
    return {row[0]: row[1] for row in found}


def check_row(checker: Checker, row: Row) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Return the entry of a file's row, None where something is wrong, and a sentence by column."""
    if "" in row.errors:
        return None, row.errors
    try:
        checked = checker.check(row.values, f"line {row.line}")
    except InvalidParams as error:
        return None, error.errors | row.errors
    if row.errors:
        return None, row.errors
    if checker.stands_locked(checked["id"]):
        return None, {"id": f"This entry stands in another period. {LOCKED}"}
    return checked, {}
