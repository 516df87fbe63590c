"""Counters brought up to date with events, and compared with them.

A step takes some events that were not counted yet, looks at all events of the file versions they
belong to, and moves counters and months by the difference between what those versions amounted to
before and after. One transaction holds the project's row, so a step happens wholly or not at all,
and once, whoever does it: a worker, the janitor, a command.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Row, delete, insert, select, tuple_, update

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
    not_placed,
)
from webapp.kinds.project_storage.models import (
    AheadEvent,
    Counter,
    FileEvent,
    Project,
    Provider,
    RolledUpMonth,
    StorageMonth,
    UnplacedEvent,
)
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert

EVENTS_PER_STEP = 2_000


@dataclass(frozen=True)
class Drift:
    """One number that differs from what the events say.

    where: a provider's key, or a month with provider and uploader
    """

    project_key: int
    where: tuple[Any, ...]
    name: str
    stored: int
    counted: int


@dataclass(frozen=True)
class Sums:
    """What is stored of a project: a row of numbers per provider, or per month."""

    table: Any
    by: tuple[str, ...]
    names: tuple[str, ...]

    def stored(self, project_key: int) -> dict[Any, list[int]]:
        """Return the rows of a project."""
        columns = [getattr(self.table, name) for name in (*self.by, *self.names)]
        rows = db.session.execute(select(*columns).where(self.table.project_key == project_key))
        width = len(self.by)
        return {tuple(row[:width]): list(row[width:]) for row in rows}

    def apply(self, project_key: int, deltas: dict[Any, list[int]]) -> None:
        """Add to the rows of a project; a month that holds nothing loses its row."""
        stored = self.stored(project_key)
        rows, empty = [], []
        for where, delta in deltas.items():
            before = stored.get(where, [0] * len(self.names))
            after = [old + new for old, new in zip(before, delta, strict=True)]
            if self.table is not Counter and not any(after):
                empty.append(where)
            elif where not in stored or after != before:
                rows.append(self._row(project_key, where, after))
        if rows:
            new = upsert(db.session, self.table)
            new = new.on_conflict_do_update(
                index_elements=["project_key", *self.by],
                set_={name: getattr(new.excluded, name) for name in self.names},
            )
            db.session.execute(new, rows)
        if empty:
            place = tuple_(*(getattr(self.table, name) for name in self.by))
            self._delete(project_key, place.in_(empty))

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
        return {"project_key": project_key, **dict(zip(self.by, where, strict=True)), **numbers}

    def _delete(self, project_key: int, *more: Any) -> None:
        db.session.execute(delete(self.table).where(self.table.project_key == project_key, *more))


COUNTERS = Sums(Counter, ("provider_key",), COUNTED)
MONTHS = Sums(StorageMonth, ("month", "provider_key", "uploader"), MONTHLY)
ROLLED_UP = Sums(RolledUpMonth, MONTHS.by, MONTHLY)


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
    place = hold_project(project_key)
    of_project, now_us = FileEvent.project_key == project_key, moment_us(utcnow())
    ahead = _events_ahead(project_key)
    due = {seq for seq, at_us in ahead.items() if at_us <= now_us}
    last_seq, counted_seq = place or (0, 0)
    if counted_seq >= last_seq and not (place and due):
        db.session.rollback()
        return 0
    upto = min(last_seq, counted_seq + EVENTS_PER_STEP)
    new = FileEvent.seq.between(counted_seq + 1, upto)
    still_ahead = select(FileEvent.seq, FileEvent.at_us).where(
        of_project, new | FileEvent.seq.in_(ahead), FileEvent.at_us > now_us
    )
    still: dict[int, int] = dict(db.session.execute(still_ahead).all())
    touched = select(FileEvent.version_id).where(of_project, new | FileEvent.seq.in_(due))
    effects = Effects(in_place_providers(project_key))
    unplaced: dict[int, str] = {}
    were_unplaced: set[int] = set()
    for version in versions_of(project_key, upto, FileEvent.version_id.in_(touched)):
        done = {seq: event for seq, event in version.items() if seq <= counted_seq}
        before = {seq: event for seq, event in done.items() if seq not in ahead}
        now = {seq: event for seq, event in version.items() if seq not in still}
        effects.add(before.values(), -1)
        effects.add(now.values())
        were_unplaced |= not_placed(before).keys()
        unplaced |= not_placed(now)
    if _is_capped(project_key):
        counters = _everything(project_key, upto, still)[0].counters
        COUNTERS.compare(project_key, _by_tuple(counters), repair=True)
    else:
        COUNTERS.apply(project_key, _by_tuple(effects.counters))
    MONTHS.apply(project_key, effects.months)
    _keep_unplaced(project_key, unplaced, UnplacedEvent.seq.in_(were_unplaced))
    mine = AheadEvent.project_key == project_key
    db.session.execute(delete(AheadEvent).where(mine, AheadEvent.seq.in_(due)))
    if rows := [(seq, at_us) for seq, at_us in still.items() if seq not in ahead]:
        fields = [{"project_key": project_key, "seq": seq, "at_us": at_us} for seq, at_us in rows]
        db.session.execute(insert(AheadEvent), fields)
    waiting = select(FileEvent.received_at).where(of_project, FileEvent.seq == upto + 1)
    db.session.execute(
        update(Project)
        .where(Project.key == project_key)
        .values(
            counted_seq=upto,
            waiting_since=db.session.scalar(waiting) if upto < last_seq else None,
            due_at=moment_at(min(still.values())) if still else None,
        )
        .execution_options(synchronize_session=False)
    )
    db.session.commit()
    return upto - counted_seq + len(due)


def hold_project(project_key: int) -> Row[int, int] | None:
    """Make other writers of a project wait; return its last_seq and counted_seq.

    By a write, because SQLite has no row locks; None for a deleted one.
    """
    return db.session.execute(
        update(Project)
        .where(Project.key == project_key, Project.deleted_at.is_(None))
        .values(last_seq=Project.last_seq)
        .returning(Project.last_seq, Project.counted_seq)
        .execution_options(synchronize_session=False)
    ).first()


def _events_ahead(project_key: int) -> dict[int, int]:
    """Return the numbers and times of events that did not count yet because they were ahead."""
    query = select(AheadEvent.seq, AheadEvent.at_us).where(AheadEvent.project_key == project_key)
    return dict(db.session.execute(query).all())


def versions_of(project_key: int, upto: int, *where: Any) -> Iterator[dict[int, Event]]:
    """Yield the events up to a number of each file version, by their numbers."""
    columns = (
        "version_id",
        "seq",
        "at_us",
        "event_id",
        "type",
        "bytes",
        "provider_key",
        "uploader",
    )
    query = select(*(getattr(FileEvent, name) for name in columns)).where(
        FileEvent.project_key == project_key, FileEvent.seq <= upto, *where
    )
    found = db.session.execute(
        query.order_by(FileEvent.version_id), execution_options={"yield_per": 5000}
    )
    for _, rows in groupby(found, key=lambda row: row[0]):
        yield {row[1]: Event(*row[2:]) for row in rows}


def _is_capped(project_key: int) -> bool:
    """Say whether a counter of the project is as large as 64 bits go.

    What it left out is in the events alone; counting on from it would lose that.
    """
    capped = (Counter.active_bytes == LARGEST) | (Counter.trash_bytes == LARGEST)
    query = select(Counter.provider_key).where(Counter.project_key == project_key, capped)
    return db.session.execute(query.limit(1)).first() is not None


def _everything(
    project_key: int, upto: int, ahead: Collection[int]
) -> tuple[Effects, dict[int, str]]:
    """Return what all events up to a number amount to without those ahead; what has no place."""
    effects, unplaced = Effects(in_place_providers(project_key)), dict[int, str]()
    effects.months = ROLLED_UP.stored(project_key)
    # A provider that was ever used has a row.
    effects.counters = {provider: [0, 0, 0, 0] for _, provider, _ in effects.months}
    for version in versions_of(project_key, upto):
        now = {seq: event for seq, event in version.items() if seq not in ahead}
        effects.add(now.values())
        unplaced |= not_placed(now)
    return effects, unplaced


def in_place_providers(project_key: int) -> set[int]:
    """Return the keys of the providers of a project's company that overwrite in place."""
    of_company = Project.company_id == Provider.company_id
    query = select(Provider.key).join(Project, of_company)
    return set(db.session.scalars(query.where(Project.key == project_key, Provider.in_place)))


def _by_tuple(counters: dict[int, list[int]]) -> dict[tuple[int], list[int]]:
    return {(provider,): row for provider, row in counters.items()}


def _keep_unplaced(project_key: int, unplaced: dict[int, str], *old: Any) -> None:
    db.session.execute(delete(UnplacedEvent).where(UnplacedEvent.project_key == project_key, *old))
    if rows := [
        {"project_key": project_key, "seq": seq, "reason": reason}
        for seq, reason in unplaced.items()
    ]:
        db.session.execute(insert(UnplacedEvent), rows)


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


# Counters against events


def recount(project_key: int, *, repair: bool = True) -> list[Drift]:
    """Compare a project's counters and months with its events; return what differs. Commits.

    Waiting events are counted first; the comparison holds the project's row. With `repair` the
    stored numbers are replaced by what the events say.
    """
    count_project(project_key)
    place = hold_project(project_key)
    if place is None:
        db.session.rollback()
        return []
    ahead = _events_ahead(project_key)
    effects, unplaced = _everything(project_key, place.counted_seq, ahead)
    months = {share: row for share, row in effects.months.items() if any(row)}
    drift = COUNTERS.compare(project_key, _by_tuple(effects.counters), repair)
    drift += MONTHS.compare(project_key, months, repair)
    if repair:
        _keep_unplaced(project_key, unplaced)
    db.session.commit()
    return drift


def recount_all(*, repair: bool = True) -> Iterator[tuple[int, list[Drift]]]:
    """Yield each project's key and what had drifted in it, oldest project first."""
    keys = db.session.scalars(
        select(Project.key).where(Project.deleted_at.is_(None)).order_by(Project.key)
    ).all()
    db.session.commit()
    for key in keys:
        yield key, recount(key, repair=repair)
