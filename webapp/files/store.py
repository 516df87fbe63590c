"""Files written and read: in the database, or in an object store.

A file is read only when all of it is there. Chunks are read one at a time on connections of their
own, so that a slow download holds neither memory nor a transaction. Where a file's bytes are is
noted before the first of them is sent, so that whatever ends a worker, an object is found again.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from flask import current_app
from sqlalchemy import (
    BigInteger,
    Engine,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    delete,
    exists,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from webapp.errors import NotFound, Unavailable
from webapp.extensions import CompanyId, Model, NewId, UtcDateTime, UuidText, db, kept
from webapp.lib import objects
from webapp.lib.moments import utcnow

CHUNK_BYTES = 512 * 1024

log = logging.getLogger(__name__)


class StoredFile(Model):
    """A file: of a report's attempt, or one that was uploaded.

    kind:     what it is, in its owner's words: a report type, `upload`
    ready_at: set when its last byte is stored; nobody reads a file before
    """

    __tablename__ = "stored_file"
    __table_args__ = (
        Index("ix_stored_file_report", "report_id"),
        Index("ix_stored_file_created", "created_at"),
        kept("created_at", "INVENTORY_FILES_KEPT_DAYS"),
    )

    id: Mapped[NewId]
    company_id: Mapped[CompanyId]
    report_id: Mapped[UuidText | None] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    kind: Mapped[str] = mapped_column(String(40))
    format: Mapped[str] = mapped_column(String(10))
    name: Mapped[str] = mapped_column(String(255))
    size_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FileChunk(Model):
    """One piece of a file, in its order."""

    __tablename__ = "stored_file_chunk"

    file_id: Mapped[UuidText] = mapped_column(
        ForeignKey("stored_file.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class FileObject(Model):
    """Where a file's bytes are when they are not in chunks. It outlives the file.

    Nothing refers to anything here: a database that deletes a report takes its files along, and
    what is left says which objects are still to be removed.
    """

    __tablename__ = "stored_file_object"
    __table_args__ = (Index("ix_stored_file_object_report", "report_id"),)

    file_id: Mapped[UuidText] = mapped_column(primary_key=True)
    report_id: Mapped[UuidText | None]
    url: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(String(200))


def store_file(
    company_id: str,
    content: IO[bytes],
    *,
    kind: str,
    format: str,
    name: str,
    report_id: str | None = None,
    attempt: int = 0,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Store a file chunk by chunk, ready at the end, and return its id.

    check:  called before each chunk; what it raises ends the storing, the rest is swept later
    Raises: Unavailable, where the object store is away
    """
    file = StoredFile(company_id=company_id, kind=kind, format=format, name=name)
    file.report_id, file.attempt = report_id, attempt
    db.session.add(file)
    db.session.flush()
    file_id, place = file.id, _place(file)
    db.session.add_all(FileObject(**one) for one in place)
    db.session.commit()
    read = _Read(content, check)
    for one in place:
        objects.put_object(one["url"], one["path"], read)
    if not place:
        _put_rows(file_id, read)
    if not _make_ready(file_id, read):
        # It was deleted, and perhaps swept, while the last bytes were on their way.
        for one in place:
            db.session.merge(FileObject(**one))
        db.session.commit()
        sweep(FileObject.file_id == file_id)
    return file_id


def _place(file: StoredFile) -> list[dict[str, Any]]:
    """Return where a new file's object goes, or nothing where its bytes stay in the database."""
    url = current_app.config["FILES_URL"]
    if not url:
        return []
    suffix = f".{file.format.lower()}" if file.format else ""
    path = f"{file.company_id}/{file.report_id or 'uploads'}/{file.id}{suffix}"
    return [{"file_id": file.id, "report_id": file.report_id, "url": url, "path": path}]


class _Read:
    """A content chunk by chunk, measured on the way."""

    def __init__(self, content: IO[bytes], check: Callable[[], None]) -> None:
        self._content, self._check = content, check
        self._digest, self.size_bytes = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        while data := self._content.read(CHUNK_BYTES):
            self._check()
            self._digest.update(data)
            self.size_bytes += len(data)
            yield data

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _put_rows(file_id: str, chunks: Iterable[bytes]) -> None:
    for position, data in enumerate(chunks):
        with db.engine.begin() as connection:
            values = {"file_id": file_id, "position": position, "data": data}
            connection.execute(insert(FileChunk).values(values))


def _make_ready(file_id: str, read: _Read) -> bool:
    """Let a file be read; return whether it is still wanted."""
    values = {"size_bytes": read.size_bytes, "sha256": read.sha256, "ready_at": utcnow()}
    with db.engine.begin() as connection:
        mine = update(StoredFile).where(StoredFile.id == file_id)
        return connection.execute(mine.values(values)).rowcount > 0


def read_chunks(file_id: str, engine: Engine | None = None) -> Iterator[bytes]:
    """Return a file's bytes by chunks; it just ends where the file is deleted meanwhile.

    Raises: Unavailable, at once, where its object store is away; NotFound without its object
    """
    engine = engine or db.engine
    query = select(FileObject.url, FileObject.path, StoredFile.size_bytes).join(
        StoredFile, StoredFile.id == FileObject.file_id
    )
    with engine.connect() as connection:
        place = connection.execute(query.where(StoredFile.id == file_id)).one_or_none()
    return objects.read_object(*place) if place else _read_rows(file_id, engine)


def _read_rows(file_id: str, engine: Engine) -> Iterator[bytes]:
    position = 0
    while True:
        query = select(FileChunk.data).where(
            FileChunk.file_id == file_id, FileChunk.position == position
        )
        with engine.connect() as connection:
            data = connection.execute(query).scalar()
        if data is None:
            return
        yield data
        position += 1


@contextmanager
def as_path(file_id: str) -> Iterator[Path]:
    """Lend a file on this machine, for as long as the block runs.

    Raises: NotFound for one that was deleted, perhaps while it was read; Unavailable where its
            object store is away
    """
    with tempfile.NamedTemporaryFile(prefix="stored-") as copy:
        for data in read_chunks(file_id):
            copy.write(data)
        copy.flush()
        with db.engine.connect() as connection:
            whole = select(StoredFile.size_bytes).where(StoredFile.id == file_id)
            if connection.scalar(whole) != copy.tell():
                raise NotFound("This file was deleted.")
        yield Path(copy.name)


def drop_files(*conditions: Any) -> int:
    """Delete files and their chunks, one file a transaction; return how many. Objects: `sweep`."""
    ids = list(db.session.scalars(select(StoredFile.id).where(*conditions)))
    db.session.commit()
    for file_id in ids:
        db.session.execute(delete(FileChunk).where(FileChunk.file_id == file_id))
        db.session.execute(delete(StoredFile).where(StoredFile.id == file_id))
        db.session.commit()
    return len(ids)


def sweep(*conditions: Any) -> int:
    """Remove objects whose files are gone; return how many.

    Those of a store that is away wait for the next night.
    """
    is_wanted = exists().where(StoredFile.id == FileObject.file_id)
    query = select(FileObject.file_id, FileObject.url, FileObject.path)
    found = db.session.execute(query.where(~is_wanted, *conditions)).all()
    db.session.commit()
    removed, away = 0, set()
    for file_id, url, path in found:
        if url in away:
            continue
        try:
            objects.remove_object(url, path)
        except Unavailable:
            log.warning("objects of deleted reports stay in %s until the next night", url)
            away.add(url)
            continue
        db.session.execute(delete(FileObject).where(FileObject.file_id == file_id))
        db.session.commit()
        removed += 1
    return removed
