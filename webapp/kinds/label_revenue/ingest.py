"""Loading files and undoing a load: all or nothing, and the same file again changes nothing.

Streams go first, then users, whose terms hold from the first month of those streams on (the very
first load's for everything before, too), then tracks; sums follow in the same transaction, or
later where the batch is large.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import and_, delete, func, select

from webapp.engine.export import safe_text
from webapp.engine.months import current_month, month_text
from webapp.errors import InvalidParams, NotFound
from webapp.extensions import db, utcnow
from webapp.kinds.label_revenue import bulk, metadata, sums
from webapp.kinds.label_revenue.books import (
    BEGINNING,
    Writer,
    drop_shelf,
    forget_shelf,
    loose_shelf,
    new_shelf,
    origins,
    writing,
)
from webapp.kinds.label_revenue.formats import BadFile, DateOrder, Format, Role, detect
from webapp.kinds.label_revenue.models import Batch, Stream, Terms
from webapp.kinds.label_revenue.rows import Problem, Reader, StreamRow, TrackRow, UserRow

Progress = Callable[[str, int, int], None]
T = TypeVar("T", UserRow, TrackRow)
PROBLEMS_SHOWN = 100
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


@dataclass
class Loaded:
    """What came of a load: its batch, whether anything is new, and what to tell."""

    batch: Batch
    is_new: bool
    notes: list[str] = field(default_factory=list)


class LoadRefused(InvalidParams):
    """422: rows that cannot be used, each by file, line and column; nothing was loaded."""

    def __init__(self, problems: list[Problem], total: int) -> None:
        errors = {
            f"{one.file}, line {one.line}" + (f", column {one.column}" if one.column else ""): (
                one.sentence
            )
            for one in problems
        }
        if total > len(problems):
            errors["…"] = f"and {total - len(problems):,} more."
        super().__init__(errors, f"{total:,} rows cannot be used; nothing was loaded.")
        self.problems = problems
        self.total = total


class DateOrderUnknown(InvalidParams):
    """422: the dates may be read in two ways, so somebody has to say which."""

    def __init__(self, name: str) -> None:
        super().__init__(
            {
                "date_order": f"No day in {name} is above 12, so 03/04/2025 may be 3 April or "
                "4 March. Say which: dmy or mdy."
            }
        )


class Rejects:
    """Collects bad rows: the first for the reader, all of them in a file where that is wanted."""

    def __init__(self, path: Path | None) -> None:
        self.shown: list[Problem] = []
        self.total = 0
        self._path = path
        self._file: Any = None
        self._writer: Any = None

    def __call__(self, problem: Problem) -> None:
        self.total += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(problem)
        if self._path is not None:
            self._write(problem)

    def _write(self, problem: Problem) -> None:
        if self._writer is None and self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                sentence = f"{self._path} cannot be written: {error.strerror}."
                raise InvalidParams({"rejected": sentence}) from error
            self._writer = csv.writer(self._file)
            self._writer.writerow(["file", "line", "column", "problem", "row"])
        file, column = safe_text(problem.file), safe_text(problem.column)
        sentence, row = safe_text(problem.sentence), safe_text(";".join(problem.row))
        self._writer.writerow([file, problem.line, column, sentence, row])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def load(
    company_id: str,
    sources: dict[Role, Source],
    options: Options,
    *,
    user_id: str | None = None,
    progress: Progress = lambda *_: None,
) -> Loaded:
    """Load users, streams and tracks as one batch, or what is new of them.

    Raises: DateOrderUnknown, LoadRefused; nothing is loaded then
    """
    rejects = Rejects(options.rejected if options.skip_bad else None)
    hashes = {role: file_hash(source.path) for role, source in sources.items()}
    found = _formats(sources, options)
    try:
        with writing(company_id) as writer:
            sums.settle_within(writer)
            if (earlier := _same_load(company_id, hashes, options)) is not None:
                return Loaded(earlier, False, ["These files were loaded before; nothing changed."])
            load_run = Load(writer, sources, hashes, found, options, rejects, progress)
            batch = load_run.run(user_id)
            if rejects.total and not options.skip_bad:
                raise LoadRefused(rejects.shown, rejects.total)
            return Loaded(batch, True, load_run.notes)
    finally:
        rejects.close()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _formats(sources: dict[Role, Source], options: Options) -> dict[Role, Format]:
    found: dict[Role, Format] = {}
    problems = []
    roles: tuple[Role, ...] = ("users", "streams")
    for role in roles:
        source = sources.get(role)
        if source is None:
            continue
        try:
            found[role] = detect(
                source.path,
                role,
                date_order=options.date_order,
                separator=options.separator,
                decimal_mark=options.decimal_mark,
            )
        except BadFile as error:
            problems.append(Problem(source.name, error.line, "", error.sentence))
    if problems:
        raise LoadRefused(problems, len(problems))
    if "streams" in found and found["streams"].ambiguous:
        raise DateOrderUnknown(sources["streams"].name)
    return found


def _same_load(company_id: str, hashes: dict[Role, str], options: Options) -> Batch | None:
    """Return the batch of the same files, where it is the newest that told of them."""
    asked = options.from_month and month_text(options.from_month)
    query = select(Batch).where(Batch.company_id == company_id, Batch.undone_at.is_(None))
    for batch in db.session.scalars(query.order_by(Batch.no.desc())):
        kept = {role: one.get("sha256") for role, one in batch.files.items() if role != "api"}
        if kept == hashes and asked in (None, batch.files.get("users", {}).get("from_month")):
            return batch
        if "streams" not in hashes and kept:
            # A later batch may have said something else since.
            return None
    return None


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


def batches(company_id: str, limit: int = 200) -> list[Batch]:
    """Return a company's batches, newest first."""
    query = select(Batch).where(Batch.company_id == company_id)
    return list(db.session.scalars(query.order_by(Batch.no.desc()).limit(limit)))


def unload(company_id: str, batch_id: str) -> Batch:
    """Undo a batch: its streams, terms and tracks go, and what they replaced counts again.

    Raises: NotFound for an unknown batch, one undone before, and another company's
    """
    with writing(company_id) as writer:
        batch = db.session.scalar(
            select(Batch).where(Batch.company_id == company_id, Batch.id == batch_id)
        )
        if batch is None or batch.undone_at is not None:
            raise NotFound("There is no such batch, or it was undone before.")
        sums.settle_within(writer)
        if batch.shelf_id is not None:
            sums.fold(writer, [on_shelf(batch)], -1)
            _drop_streams(writer, batch)
        metadata.unlabel(writer, batch.no)
        metadata.drop_terms(writer, batch.no)
        batch.undone_at = utcnow()
        batch.streams_hash = None
    return batch


def _drop_streams(writer: Writer, batch: Batch) -> None:
    if batch.own_shelf and batch.shelf_id is not None:
        drop_shelf(writer, batch.shelf_id)
    else:
        writer.connection.execute(delete(Stream).where(on_shelf(batch)))
