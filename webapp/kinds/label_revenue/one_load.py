"""One load in its transaction.

Streams go first, then users, whose terms hold from the first month of those streams on (the very
first load's for everything before, too), then tracks; sums follow in the same transaction, or
later where the batch is large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import and_, func, select

from webapp.extensions import db
from webapp.intake import BadFile, Choices, DateOrder, Format, LoadRefused, Problem, Rejects
from webapp.kinds.label_revenue import bulk, metadata, sums
from webapp.kinds.label_revenue.books import (
    BEGINNING,
    Writer,
    forget_shelf,
    loose_shelf,
    new_shelf,
    origins,
)
from webapp.kinds.label_revenue.formats import Role
from webapp.kinds.label_revenue.models import Batch, Stream, Terms
from webapp.kinds.label_revenue.rows import Reader, StreamRow, TrackRow, UserRow
from webapp.lib.months import current_month, month_text

Progress = Callable[[str, int, int], None]
T = TypeVar("T", UserRow, TrackRow)
ROWS_COMPARED = 1_000_000
REPEATS_SHOWN = 5
# Batches of more streams are added up after their transaction, by a worker or the next reader.
SUMMED_AT_ONCE = 300_000


@dataclass(frozen=True)
class Source:
    """One file to load: where it is, and what its sender calls it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Options:
    """What a person says about the files; None where it is for the program to find out.

    from_month: the first month the terms of the users file hold in
    """

    date_order: DateOrder | None = None
    separator: str | None = None
    decimal_mark: str | None = None
    skip_bad: bool = False
    rejected: Path | None = None
    from_month: date | None = None

    @property
    def choices(self) -> Choices:
        """What is said of how the files are written."""
        return Choices(
            separator=self.separator, decimal_mark=self.decimal_mark, date_order=self.date_order
        )


@dataclass
class Load:
    """One load in its transaction."""

    writer: Writer
    sources: dict[Role, Source]
    hashes: dict[Role, str]
    found: dict[Role, Format]
    options: Options
    rejects: Rejects
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def run(self, user_id: str | None) -> Batch:
        """Write everything and return the batch."""
        files = {
            role: {"name": source.name, "sha256": self.hashes[role]}
            for role, source in self.sources.items()
        }
        batch = Batch(
            company_id=self.writer.company_id, created_by=user_id, files=files, warnings=[]
        )
        db.session.add(batch)
        db.session.flush()
        self._streams(batch)
        if "users" in self.sources:
            batch.listeners = self._in_file("users", lambda: self._users(batch))
        if "tracks" in self.sources:
            batch.tracks = self._in_file("tracks", lambda: self._tracks(batch))
        batch.rejected = self.rejects.total
        if self.rejects.total and not self.options.skip_bad:
            return batch
        self._sums(batch)
        batch.warnings = [*self.notes, *batch.warnings]
        return batch

    def _in_file(self, role: Role, work: Callable[[], int]) -> int:
        """Do the work of one file; a file that ends badly is one more problem."""
        try:
            return work()
        except BadFile as error:
            self.rejects(Problem(self.sources[role].name, error.line, "", error.sentence))
            if self.options.skip_bad:
                raise LoadRefused(self.rejects.shown, self.rejects.total) from error
            return 0

    def _streams(self, batch: Batch) -> None:
        if "streams" not in self.sources:
            return
        if (earlier := self._streams_loaded_before()) is not None:
            name = self.sources["streams"].name
            self.notes.append(f"The streams of {name} were loaded before and are not loaded again.")
            batch.first_month, batch.last_month = earlier.first_month, earlier.last_month
            return
        batch.streams_hash = self.hashes["streams"]
        self.writer.book.date_order = self.found["streams"].date_order
        batch.streams = self._in_file("streams", lambda: self._write_streams(batch))
        if "users" not in self.sources:
            return  # only terms ask from which month on; the sums will tell the months
        first, last = self.writer.connection.execute(
            select(func.min(Stream.date), func.max(Stream.date)).where(on_shelf(batch))
        ).one()
        if first is not None:
            batch.first_month, batch.last_month = first.replace(day=1), last.replace(day=1)

    def _streams_loaded_before(self) -> Batch | None:
        return db.session.scalar(
            select(Batch).where(
                Batch.company_id == self.writer.company_id,
                Batch.streams_hash == self.hashes["streams"],
                Batch.undone_at.is_(None),
            )
        )

    def _write_streams(self, batch: Batch) -> int:
        path, found = self.sources["streams"].path, self.found["streams"]
        size = path.stat().st_size
        done = 0

        def on_bytes(count: int) -> None:
            nonlocal done
            done += count
            self.progress("streams", min(done, size), size)

        if self.writer.is_postgres and bulk.may_go_raw(found, path):
            batch.shelf_id, batch.own_shelf = new_shelf(self.writer), True
            try:
                return bulk.copy_raw(self.writer, path, found, batch.shelf_id, batch.no, on_bytes)
            except bulk.NotPlain:
                forget_shelf(self.writer, batch.shelf_id)
                batch.own_shelf = False
                done = 0
        batch.shelf_id = loose_shelf(self.writer)
        return bulk.write_rows(self.writer, self._stream_rows(on_bytes), batch.shelf_id, batch.no)

    def _stream_rows(self, on_bytes: Callable[[int], None]) -> Iterator[StreamRow]:
        """Yield the rows of the streams file; say which stand in it twice."""
        source = self.sources["streams"]
        reader = Reader(source.name, source.path, self.rejects)
        seen: dict[int, int] = {}
        repeats = 0
        for line, row in reader.streams(self.found["streams"]):
            fingerprint = hash(row)
            if fingerprint in seen and repeats < REPEATS_SHOWN:
                repeats += 1
                self.notes.append(f"{source.name}, line {line}: same as line {seen[fingerprint]}.")
            elif len(seen) < ROWS_COMPARED:
                seen[fingerprint] = line
            # About as long as the line: it only moves a progress bar.
            on_bytes(len(row.region) + len(row.track_id) + 24)
            yield row

    def _users(self, batch: Batch) -> int:
        source = self.sources["users"]
        from_month = self._terms_from(batch)
        reader = Reader(source.name, source.path, self.rejects)
        rows = self._told(
            "users", reader.users(self.found["users"], origins(self.writer.company_id)), 14
        )
        once = metadata.first_of_each(
            rows, lambda row: row.user_id, source.name, "user_id", self.rejects, self.notes
        )
        count, changed = metadata.store_terms(self.writer, once, from_month, batch.no)
        batch.files = batch.files | {
            "users": batch.files["users"] | {"from_month": month_text(from_month)}
        }
        if changed and from_month != BEGINNING:
            self.notes.append(f"The terms of {source.name} hold from {month_text(from_month)} on.")
        return count

    def _told(
        self, role: Role, rows: Iterator[tuple[int, T]], more: int
    ) -> Iterator[tuple[int, T]]:
        """Yield rows and tell how far the file is; a row is about its texts and `more` long."""
        size, done = self.sources[role].path.stat().st_size, 0
        for line, row in rows:
            done += more + sum(len(cell) for cell in row if isinstance(cell, str))
            self.progress(role, min(done, size), size)
            yield line, row

    def _terms_from(self, batch: Batch) -> date:
        if self.options.from_month is not None:
            return self.options.from_month
        known = self.writer.connection.scalar(
            select(Terms.user_id).where(Terms.company_id == self.writer.company_id).limit(1)
        )
        if known is None:
            return BEGINNING
        return batch.first_month or current_month()

    def _tracks(self, batch: Batch) -> int:
        source = self.sources["tracks"]
        reader = Reader(source.name, source.path, self.rejects)
        once = metadata.first_of_each(
            self._told("tracks", reader.tracks(), 60),
            lambda row: row.track_id,
            source.name,
            "track_id",
            self.rejects,
            self.notes,
        )
        return metadata.store_tracks(self.writer, once, batch.no)

    def _sums(self, batch: Batch) -> None:
        """Move what earlier streams of relabelled tracks counted for, then add the new ones."""
        metadata.relabel(self.writer, batch.no)
        if not batch.streams:
            return
        batch.summed = False
        if batch.streams <= SUMMED_AT_ONCE or not self.writer.is_postgres:
            self.progress("sums", 0, 1)
            sums.settle_within(self.writer)


def on_shelf(batch: Batch) -> Any:
    """Return the condition that a stream belongs to a batch."""
    return and_(Stream.shelf_id == batch.shelf_id, Stream.batch_no == batch.no)
