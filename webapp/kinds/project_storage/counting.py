"""Counters brought up to date with events, and compared with them.

A step takes some events that were not counted yet, looks at all events of the file versions they
belong to, and moves counters and months by the difference between what those versions amounted to
before and after. One transaction holds the project's row, so a step happens wholly or not at all,
and once, whoever does it: a worker, the janitor, a command.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import delete, insert, select, update

from webapp.extensions import db
from webapp.kinds.project_storage.compute import (
    COUNTED,
    LARGEST,
    MONTHLY,
    Effects,
    Event,
    held,
    moment_at,
    moment_us,
)
from webapp.kinds.project_storage.models import (
    AheadEvent,
    Counter,
    FileEvent,
    Project,
    StorageMonth,
)
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert

EVENTS_PER_STEP = 2_000


@dataclass(frozen=True)
class Drift:
    """One number that differs from what the events say.

    where: a provider's key, or a month
    """

    project_key: int
    where: int | date
    name: str
    stored: int
    counted: int


@dataclass(frozen=True)
class Sums:
    """What is stored of a project: a row of numbers per provider, or per month."""

    table: Any
    by: str
    names: tuple[str, ...]

    def stored(self, project_key: int) -> dict[Any, list[int]]:
        """Return the rows of a project."""
        columns = [getattr(self.table, name) for name in (self.by, *self.names)]
        rows = db.session.execute(select(*columns).where(self.table.project_key == project_key))
        return {row[0]: list(row[1:]) for row in rows}

    def apply(self, project_key: int, deltas: dict[Any, list[int]]) -> None:
        """Add to the rows of a project; a month that holds nothing loses its row."""
        stored = self.stored(project_key)
        rows, empty = [], []
        for where, delta in deltas.items():
            before = stored.get(where, [0] * len(self.names))
            after = [old + new for old, new in zip(before, delta, strict=True)]
            if self.table is StorageMonth and not any(after):
                empty.append(where)
            elif where not in stored or after != before:
                rows.append(self._row(project_key, where, after))
        if rows:
            new = upsert(db.session, self.table)
            new = new.on_conflict_do_update(
                index_elements=["project_key", self.by],
                set_={name: getattr(new.excluded, name) for name in self.names},
            )
            db.session.execute(new, rows)
        if empty:
            self._delete(project_key, getattr(self.table, self.by).in_(empty))

    def compare(self, project_key: int, right: dict[Any, list[int]], repair: bool) -> list[Drift]:
        """Return what differs from the right rows, which replace the others with `repair`."""
        nothing = [0] * len(self.names)
        if self.table is Counter:
            right = {where: [held(value) for value in row] for where, row in right.items()}
        stored = self.stored(project_key)
        drift = [
            Drift(project_key, where, name, old, new)
            for where in sorted({*stored, *right})
            for name, old, new in zip(
                self.names, stored.get(where, nothing), right.get(where, nothing), strict=True
            )
            if old != new
        ]
        if repair and stored != right:
            self._delete(project_key)
            if rows := [self._row(project_key, where, row) for where, row in right.items()]:
                db.session.execute(insert(self.table), rows)
        return drift

    def _row(self, project_key: int, where: Any, values: list[int]) -> dict[str, Any]:
        if self.table is Counter:
            values = [held(value) for value in values]
        numbers = dict(zip(self.names, values, strict=True))
        return {"project_key": project_key, self.by: where, **numbers}

    def _delete(self, project_key: int, *more: Any) -> None:
        db.session.execute(delete(self.table).where(self.table.project_key == project_key, *more))


COUNTERS = Sums(Counter, "provider_key", COUNTED)
MONTHS = Sums(StorageMonth, "month", MONTHLY)


@dataclass(frozen=True)
class Place:
    """How far a project's events were counted, read while its row is held."""

    key: int
    last_seq: int
    counted_seq: int


def count_project(project_key: int) -> int:
    """Count all events of a project that wait; return how many. Commits after each step."""
    total = 0
    while counted := count_step(project_key):
        total += counted
    return total


def count_step(project_key: int) -> int:
    """Count the next events of a project, and those whose time has come. Commits.

    Returns: how many there were
    """
    place = _hold(project_key)
    now_us = moment_us(utcnow())
    ahead = _events_ahead(project_key)
    due = {seq for seq, at_us in ahead.items() if at_us <= now_us}
    if place is None or (place.counted_seq >= place.last_seq and not due):
        db.session.rollback()
        return 0
    upto = min(place.last_seq, place.counted_seq + EVENTS_PER_STEP)
    new = (FileEvent.project_key == project_key) & FileEvent.seq.between(
        place.counted_seq + 1, upto
    )
    still = {seq: at_us for seq, at_us in ahead.items() if seq not in due}
    still |= _numbered(select(FileEvent.seq, FileEvent.at_us).where(new, FileEvent.at_us > now_us))
    effects = _difference(place, upto, ahead, still)
    if _is_capped(project_key):
        counters = _everything(project_key, upto, still).counters
        COUNTERS.compare(project_key, counters, repair=True)
    else:
        COUNTERS.apply(project_key, effects.counters)
    MONTHS.apply(project_key, effects.months)
    _keep_ahead(project_key, ahead, still)
    _advance(project_key, upto, place.last_seq, still)
    db.session.commit()
    return upto - place.counted_seq + len(due)


def _events_ahead(project_key: int) -> dict[int, int]:
    """Return the numbers and times of events that did not count yet because they were ahead."""
    return _numbered(
        select(AheadEvent.seq, AheadEvent.at_us).where(AheadEvent.project_key == project_key)
    )


def _numbered(query: Any) -> dict[int, int]:
    return {row[0]: row[1] for row in db.session.execute(query)}


def _keep_ahead(project_key: int, before: dict[int, int], after: dict[int, int]) -> None:
    if gone := before.keys() - after.keys():
        mine = (AheadEvent.project_key == project_key) & AheadEvent.seq.in_(gone)
        db.session.execute(delete(AheadEvent).where(mine))
    if new := after.keys() - before.keys():
        rows = [{"project_key": project_key, "seq": seq, "at_us": after[seq]} for seq in new]
        db.session.execute(insert(AheadEvent), rows)


def _hold(project_key: int) -> Place | None:
    """Take the project's row, by a write so that SQLite holds it too; None for a deleted one."""
    row = db.session.execute(
        update(Project)
        .where(Project.key == project_key, Project.deleted_at.is_(None))
        .values(counted_seq=Project.counted_seq)
        .returning(Project.last_seq, Project.counted_seq)
        .execution_options(synchronize_session=False)
    ).first()
    return Place(project_key, row[0], row[1]) if row else None


def _difference(place: Place, upto: int, ahead: Collection[int], still: Collection[int]) -> Effects:
    """Return by how much the events that count now differ from those counted before.

    ahead: numbers of the events that did not count yet; still: of those that do not count now
    """
    of_project = FileEvent.project_key == place.key
    news = FileEvent.seq.between(place.counted_seq + 1, upto)
    due = [seq for seq in ahead if seq not in still]
    touched = select(FileEvent.version_id).where(of_project, news | FileEvent.seq.in_(due))
    where = (of_project, FileEvent.version_id.in_(touched), FileEvent.seq <= upto)
    versions: dict[str, list[tuple[int, Event]]] = {}
    for version_id, seq, *event in db.session.execute(_events().where(*where)):
        versions.setdefault(version_id, []).append((seq, Event(*event)))
    effects = Effects()
    for numbered in versions.values():
        before = [event for seq, event in numbered if seq <= place.counted_seq and seq not in ahead]
        effects.add(before, -1)
        effects.add([event for seq, event in numbered if seq not in still])
    return effects


def _is_capped(project_key: int) -> bool:
    """Say whether a counter of the project is as large as 64 bits go.

    What it left out is in the events alone; counting on from it would lose that.
    """
    capped = (Counter.active_bytes == LARGEST) | (Counter.trash_bytes == LARGEST)
    query = select(Counter.provider_key).where(Counter.project_key == project_key, capped)
    return db.session.execute(query.limit(1)).first() is not None


def _everything(project_key: int, upto: int, ahead: Collection[int]) -> Effects:
    """Return what all events up to a number amount to, but for those ahead."""
    effects = Effects()
    for events in _by_version(project_key, upto, ahead):
        effects.add(events)
    return effects


def _events() -> Any:
    return select(
        FileEvent.version_id,
        FileEvent.seq,
        FileEvent.at_us,
        FileEvent.event_id,
        FileEvent.type,
        FileEvent.bytes,
        FileEvent.provider_key,
    )


def _advance(project_key: int, upto: int, last_seq: int, ahead: dict[int, int]) -> None:
    waiting = None
    if upto < last_seq:
        waiting = db.session.scalar(
            select(FileEvent.received_at).where(
                FileEvent.project_key == project_key, FileEvent.seq == upto + 1
            )
        )
    due_at = moment_at(min(ahead.values())) if ahead else None
    db.session.execute(
        update(Project)
        .where(Project.key == project_key)
        .values(counted_seq=upto, waiting_since=waiting, due_at=due_at)
        .execution_options(synchronize_session=False)
    )


# Whatever was left behind


def waiting_projects(*, longer_than: timedelta = timedelta(0)) -> list[int]:
    """Return the keys of projects with events not counted yet, the longest waiting first.

    Those whose time has just come are among them.
    """
    now = utcnow()
    waits = (Project.waiting_since <= now - longer_than) | (Project.due_at <= now)
    query = select(Project.key).where(waits, Project.deleted_at.is_(None))
    keys = list(db.session.scalars(query.order_by(Project.waiting_since)))
    db.session.commit()
    return keys


def count_all() -> int:
    """Count whatever waits, in every project; return how many events."""
    return sum(count_project(key) for key in waiting_projects())


# Counters against events


def recount(project_key: int, *, repair: bool = True) -> list[Drift]:
    """Compare a project's counters and months with its events; return what differs. Commits.

    Waiting events are counted first; the comparison holds the project's row. With `repair` the
    stored numbers are replaced by what the events say.
    """
    count_project(project_key)
    place = _hold(project_key)
    if place is None:
        db.session.rollback()
        return []
    ahead = _events_ahead(project_key)
    effects = _everything(project_key, place.counted_seq, ahead)
    months = {month: row for month, row in effects.months.items() if any(row)}
    drift = COUNTERS.compare(project_key, effects.counters, repair)
    drift += MONTHS.compare(project_key, months, repair)
    db.session.commit()
    return drift


def _by_version(project_key: int, upto: int, ahead: Collection[int]) -> Iterator[list[Event]]:
    query = _events().where(FileEvent.project_key == project_key, FileEvent.seq <= upto)
    found = db.session.execute(
        query.order_by(FileEvent.version_id), execution_options={"yield_per": 5000}
    )
    for _, rows in groupby(found, key=lambda row: row[0]):
        yield [Event(*row[2:]) for row in rows if row[1] not in ahead]


def recount_all(*, repair: bool = True) -> Iterator[tuple[int, list[Drift]]]:
    """Yield each project's key and what had drifted in it, oldest project first."""
    keys = db.session.scalars(
        select(Project.key).where(Project.deleted_at.is_(None)).order_by(Project.key)
    ).all()
    db.session.commit()
    for key in keys:
        yield key, recount(key, repair=repair)
