"""Loading files and undoing a load: all or nothing, and the same file again changes nothing.

What one load does in its transaction is in `one_load.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import delete, select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.intake import BadFile, Format, LoadRefused, Problem, Rejects, detect
from webapp.kinds.label_revenue import metadata, sums
from webapp.kinds.label_revenue.books import (
    Writer,
    drop_shelf,
    writing,
)
from webapp.kinds.label_revenue.formats import FIELDS, Role, check_answered
from webapp.kinds.label_revenue.models import Batch, Stream
from webapp.kinds.label_revenue.one_load import Load, Options, Progress, Source, on_shelf
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text


@dataclass
class Loaded:
    """What came of a load: its batch, whether anything is new, and what to tell."""

    batch: Batch
    is_new: bool
    notes: list[str] = field(default_factory=list)


def load(
    company_id: str,
    sources: dict[Role, Source],
    options: Options,
    *,
    user_id: str | None = None,
    progress: Progress = lambda *_: None,
) -> Loaded:
    """Load users, streams and tracks as one batch, or what is new of them.

    Raises: Unanswered, LoadRefused; nothing is loaded then
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
            found[role] = detect(source.path, FIELDS[role], options.choices)
        except BadFile as error:
            problems.append(Problem(source.name, error.line, "", error.sentence))
    if problems:
        raise LoadRefused(problems, len(problems))
    for role, one in found.items():
        check_answered(sources[role].name, one)
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
