"""Loading files and undoing a load: all or nothing, and the same files again change nothing.

A load is one transaction. Its streams go first, because they tell its own month, then users and
tracks, each row of them; then what holds is worked out. Monthly sums follow in the same
transaction, or later where the batch is large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import delete, func, insert, select

from webapp.accounts import Scope
from webapp.engine.retention import kept_from, not_kept
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.intake import BadCell, BadFile, Format, LoadRefused, Problem, Rejects
from webapp.kinds.label_revenue import bulk, in_force, repeats, sums
from webapp.kinds.label_revenue.ledger import (
    BEGINNING,
    SLUG,
    UnitOfWork,
    drop_streams,
    forget_partition,
    in_batch,
    label_ids,
    new_partition,
    shared_partition,
    unit_of_work,
)
from webapp.kinds.label_revenue.models import UNLABELLED, Batch, Label, Stream, Terms, Track
from webapp.kinds.label_revenue.periods import origins, settings_for
from webapp.kinds.label_revenue.quality import look_alikes
from webapp.kinds.label_revenue.rows import (
    FirstRows,
    Options,
    Reader,
    Role,
    Source,
    StreamRow,
    TrackRow,
    UserRow,
    read_formats,
    stream_readers,
    user_readers,
)
from webapp.lib.batches import batched
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text
from webapp.lib.texts import counted

Progress = Callable[[str, int, int], None]
T = TypeVar("T", UserRow, TrackRow)
ROWS_COMPARED = 1_000_000
REPEATS_SHOWN = 5
# Batches of more streams are added up after their transaction, by a worker or the next reader.
SUMMED_AT_ONCE = 300_000


@dataclass
class Loaded:
    """What came of a load: its batch, whether anything is new, and what to tell."""

    batch: Batch
    is_new: bool
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """A sentence of how much was taken, skipped and refused."""
        batch = self.batch
        skipped = f" {counted(batch.repeated, 'stream')} skipped," if batch.repeated else ""
        return (
            f"Loaded {counted(batch.streams, 'stream')}, {counted(batch.listeners, 'listener')} "
            f"and {counted(batch.tracks, 'track')};{skipped} "
            f"{counted(batch.rejected, 'row')} rejected."
        )


def load(
    company_id: str,
    sources: dict[Role, Source],
    options: Options,
    *,
    user_id: str | None = None,
    progress: Progress = lambda *_: None,
) -> Loaded:
    """Load users, streams and tracks as one batch.

    Raises: Unanswered, LoadRefused; nothing is loaded then
    """
    rejects = Rejects(options.rejected if options.skip_bad else None)
    hashes = {}
    for role, source in sources.items():
        with source.path.open("rb") as file:
            hashes[role] = hashlib.file_digest(file, "sha256").hexdigest()
    found = read_formats(sources, options)
    try:
        with unit_of_work(company_id, user_id) as work:
            sums.process_pending_within(work)
            if (earlier := _same_load(company_id, hashes, options)) is not None:
                return Loaded(earlier, False, ["These files were loaded before; nothing changed."])
            run = Load(work, sources, hashes, found, options, rejects, progress)
            loaded = Loaded(run.run(user_id), True, run.notes)
            if rejects.total and not options.skip_bad:
                raise LoadRefused(rejects.shown, rejects.total)
            _record(work, "loaded", loaded.batch, loaded.summary)
            return loaded
    finally:
        rejects.close()


def _same_load(company_id: str, hashes: dict[Role, str], options: Options) -> Batch | None:
    """Return the standing load of the same files, where no later one may have said otherwise."""
    for load in reversed(in_force.standing_loads(company_id)):
        kept = {role: one.get("sha256") for role, one in load.files.items()}
        same_month = options.from_month in (load.said_month, load.month)
        if kept == hashes and same_month and options.repeated == "skip":
            return load
        if hashes.keys() - {"streams"} and kept.keys() - {"streams"}:
            return None
    return None


def unload(company_id: str, batch_id: str, by: Scope | None = None) -> Batch:
    """Undo a batch: its rows go, and what holds is worked out from the loads that still stand.

    Raises: NotFound for an unknown batch, one undone before, and another company's; Conflict where
            its streams are not kept any more
    """
    with unit_of_work(company_id, by) as work:
        batch = db.session.scalar(
            select(Batch).where(Batch.company_id == company_id, Batch.id == batch_id)
        )
        if batch is None or batch.undone_at is not None:
            raise NotFound("There is no such batch, or it was undone before.")
        if batch.streams and (gone := not_kept(SLUG, batch.first_month or BEGINNING, "Streams")):
            raise Conflict(f"{gone} So this load cannot be undone.")
        sums.process_pending_within(work)
        batch.undone_at = utcnow()
        batch.streams_hash = None
        db.session.flush()
        if batch.partition_id is not None:
            with work.whole_tables():
                sums.aggregate(work, [in_batch(batch)], -1)
            drop_streams(work, batch)
            repeats.forget(work, batch)
            repeats.bring_back(work, batch)
        in_force.work_out(work, batch)
        for model in (Terms, Track):
            mine = (model.company_id == company_id) & (model.batch_no == batch.no)
            work.connection.execute(delete(model).where(mine))
        _record(work, "undid load", batch, f"{batch.streams} streams")
    bulk.drop_given_up()
    return batch


def _record(work: UnitOfWork, action: str, batch: Batch, summary: str) -> None:
    """Write a load or its undoing into the audit log, and why locked months changed."""
    names = ", ".join(str(file.get("name", "streams of programs")) for file in batch.files.values())
    work.record(action, f"{batch.id} ({names[:100]}): {summary}")
    work.reason, work.link = f"{action} of {names[:200]}", f"/label-revenue#{batch.id}"


@dataclass
class Load:
    """One load in its transaction."""

    work: UnitOfWork
    sources: dict[Role, Source]
    hashes: dict[Role, str]
    found: dict[Role, Format]
    options: Options
    rejects: Rejects
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def run(self, user_id: str | None) -> Batch:
        """Write everything and return the batch."""
        batch = Batch(
            company_id=self.work.company_id,
            created_by=user_id,
            files={
                role: {"name": source.name, "sha256": self.hashes[role]}
                for role, source in self.sources.items()
            },
            said_month=self.options.from_month,
            warnings=[],
        )
        db.session.add(batch)
        db.session.flush()
        if "streams" in self.sources:
            self._streams(batch)
        if batch.first_month is None and batch.said_month is None:
            batch.known_month = in_force.known_month(self.work.company_id)
        db.session.flush()
        batch.listeners = self._in_file("users", self._users, batch)
        batch.tracks = self._in_file("tracks", self._tracks, batch)
        batch.rejected = self.rejects.total
        self._note_empty_files(batch)
        batch.warnings = list(self.notes)
        if self.rejects.total and not self.options.skip_bad:
            return batch
        batch.summed = batch.partition_id is None
        in_force.work_out(self.work, batch)
        if batch.listeners and batch.month not in (None, BEGINNING):
            name = self.sources["users"].name
            self.notes.append(f"The terms of {name} hold from {month_text(batch.month)} on.")
        if batch.streams <= SUMMED_AT_ONCE or not self.work.is_postgres:
            self.progress("sums", 0, 1)
            sums.process_pending_within(self.work)
        return batch

    def _note_empty_files(self, batch: Batch) -> None:
        taken: dict[Role, int] = {
            "streams": batch.streams + batch.repeated,
            "users": batch.listeners,
            "tracks": batch.tracks,
        }
        for role, count in taken.items():
            if role in self.sources and not count and not self.rejects.total:
                what = "no tracks" if role == "tracks" else "a header and no rows"
                self.notes.append(f"{self.sources[role].name} holds {what}.")

    def _in_file(self, role: Role, read: Callable[[Batch], int], batch: Batch) -> int:
        """Do the work of one file, if it is there; one that ends badly is one more problem."""
        try:
            return read(batch) if role in self.sources else 0
        except BadFile as error:
            self.rejects(Problem(self.sources[role].name, error.line, "", error.sentence))
            if self.options.skip_bad:
                raise LoadRefused(self.rejects.shown, self.rejects.total) from error
            return 0

    def _streams(self, batch: Batch) -> None:
        batch.streams_hash = self.hashes["streams"]
        self.work.ledger.date_order = self.found["streams"].date_order
        batch.streams = self._in_file("streams", self._write_streams, batch)
        first, last = self.work.connection.execute(
            select(func.min(Stream.date), func.max(Stream.date)).where(in_batch(batch))
        ).one()
        if first is not None:
            batch.first_month, batch.last_month = first.replace(day=1), last.replace(day=1)
        if self.options.repeated == "skip" and (again := repeats.set_aside(self.work, batch)):
            batch.streams, batch.repeated = batch.streams - again, again
            name = self.sources["streams"].name
            self.notes.append(
                f"{again:,} of the streams of {name} were loaded before and are not counted again."
            )

    def _write_streams(self, batch: Batch) -> int:
        path, found = self.sources["streams"].path, self.found["streams"]
        size = path.stat().st_size
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self.progress("streams", min(done, size), size)

        if self.work.is_postgres and bulk.may_go_raw(found, path):
            batch.partition_id, batch.own_partition = new_partition(self.work), True
            try:
                return bulk.copy_raw(self.work, path, found, batch, on_bytes)
            except bulk.NotPlain:
                forget_partition(self.work, batch.partition_id)
                batch.own_partition = False
                done = 0
        batch.partition_id = shared_partition(self.work)
        return bulk.write_rows(self.work, self._stream_rows(on_bytes), batch)

    def _stream_rows(self, on_bytes: Callable[[int], None]) -> Iterator[StreamRow]:
        """Yield the rows of the streams file; say which stand in it twice."""
        seen: dict[int, int] = {}
        name, repeated = self.sources["streams"].name, 0
        readers = stream_readers(kept_from(SLUG))
        for line, row in self._reader("streams").streams(self.found["streams"], readers):
            fingerprint = hash(row)
            if fingerprint in seen and repeated < REPEATS_SHOWN:
                repeated += 1
                self.notes.append(f"{name}, line {line}: same as line {seen[fingerprint]}.")
            elif len(seen) < ROWS_COMPARED:
                seen[fingerprint] = line
            # About as long as the line: it only moves a progress bar.
            on_bytes(len(row.region) + len(row.track_id) + 24)
            yield row

    def _users(self, batch: Batch) -> int:
        company_id = self.work.company_id
        months = in_force.own_months(in_force.standing_loads(company_id))
        currency = settings_for(company_id, months[batch.no]).currency
        readers = user_readers(origins(company_id), currency)
        rows = self._reader("users").users(self.found["users"], readers)
        kept = self._first_of_each("users", rows, 14)
        return self._insert(Terms, batch, (row._asdict() for row in kept))

    def _tracks(self, batch: Batch) -> int:
        rows = self._first_of_each("tracks", self._reader("tracks").tracks(), 60)
        return self._insert(Track, batch, self._with_label_ids(rows))

    def _reader(self, role: Role) -> Reader:
        return Reader(self.sources[role].name, self.sources[role].path, self.rejects)

    def _with_label_ids(self, rows: Iterable[TrackRow]) -> Iterator[dict[str, Any]]:
        ids: dict[str, int] = {}
        for chunk in batched(rows):
            ids |= label_ids(self.work, {row.label for row in chunk if row.label} - ids.keys())
            for row in chunk:
                label_id = ids[row.label] if row.label else UNLABELLED
                yield {"track_id": row.track_id, "name": row.name, "label_id": label_id}
        names = select(Label.name).where(Label.company_id == self.work.company_id)
        self.notes += look_alikes(ids, db.session.scalars(names))

    def _insert(self, model: Any, batch: Batch, rows: Iterable[dict[str, Any]]) -> int:
        """Write rows of a batch and return how many there were."""
        count = 0
        owner = {"company_id": self.work.company_id, "batch_no": batch.no}
        for chunk in batched(rows):
            self.work.connection.execute(insert(model), [owner | row for row in chunk])
            count += len(chunk)
        return count

    def _first_of_each(self, role: Role, rows: Iterator[tuple[int, T]], more: int) -> Iterator[T]:
        """Yield each key's first row; the same row again is told, another one is a problem.

        Tells how far the file is: a row is about its texts and `more` long.
        """
        source, repeated = self.sources[role], 0
        first_rows = FirstRows()
        size, done = source.path.stat().st_size, 0
        for line, row in rows:
            done += more + sum(len(cell) for cell in row if isinstance(cell, str))
            self.progress(role, min(done, size), size)
            try:
                same = first_rows.find_same(line, row)
            except BadCell as bad:
                self.rejects(Problem(source.name, line, bad.column, bad.sentence, (str(row[0]),)))
                continue
            if same is None:
                yield row
            elif (repeated := repeated + 1) <= REPEATS_SHOWN:
                self.notes.append(f"{source.name}, line {line}: same as line {same}.")
