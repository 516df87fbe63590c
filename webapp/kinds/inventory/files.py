"""Files that workers write and every web process reads: in the database, or in an object store.

A file is read only when all of it is there. Chunks are read one at a time on connections of their
own, so that a slow download holds neither memory nor a transaction. Where a file's bytes are is
noted before the first of them is sent, so that whatever ends a worker, an object is found again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import IO, Any

from flask import current_app
from sqlalchemy import Engine, delete, exists, func, insert, select, update

from webapp.errors import Unavailable
from webapp.extensions import db
from webapp.kinds.inventory.models import File, FileChunk, FileObject
from webapp.lib import objects
from webapp.lib.moments import utcnow

CHUNK_BYTES = 512 * 1024
UPLOAD = "UPLOAD"
UPLOADS_KEPT = timedelta(days=1)
MIME_TYPES = {
    "XLSX": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "PDF": "application/pdf",
    "JSON": "application/json",
}

log = logging.getLogger(__name__)


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
    file = File(company_id=company_id, kind=kind, format=format, name=name)
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


def _place(file: File) -> list[dict[str, str]]:
    """Return where a new file's object goes, or nothing where its bytes stay in the database.

    An upload waits there for a day at most, whatever the setting.
    """
    url = current_app.config["FILES_URL"]
    if not url or file.report_id is None:
        return []
    path = f"{file.company_id}/{file.report_id}/{file.id}.{file.format.lower()}"
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
        return (
            connection.execute(update(File).where(File.id == file_id).values(values)).rowcount > 0
        )


def read_chunks(file_id: str, engine: Engine | None = None) -> Iterator[bytes]:
    """Return a file's bytes by chunks; it just ends where the file is deleted meanwhile.

    Raises: Unavailable, at once, where its object store is away; NotFound without its object
    """
    engine = engine or db.engine
    query = select(FileObject.url, FileObject.path, File.size_bytes).join(
        File, File.id == FileObject.file_id
    )
    with engine.connect() as connection:
        place = connection.execute(query.where(File.id == file_id)).one_or_none()
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


def files_of(report_id: str, attempt: int) -> dict[str, File]:
    """Return the ready files of a report's attempt by report type."""
    query = select(File).where(
        File.report_id == report_id, File.attempt == attempt, File.ready_at.is_not(None)
    )
    return {file.kind: file for file in db.session.scalars(query)}


def ready_counts(report_ids: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return how many files are ready, by report id and attempt."""
    query = select(File.report_id, File.attempt, func.count()).where(File.ready_at.is_not(None))
    found: dict[tuple[str, int], int] = {}
    wanted = list(report_ids)
    for start in range(0, len(wanted), 500):
        some = query.where(File.report_id.in_(wanted[start : start + 500]))
        rows = db.session.execute(some.group_by(File.report_id, File.attempt))
        found |= {(str(report_id), attempt): count for report_id, attempt, count in rows}
    return found


def drop_files(*conditions: Any) -> int:
    """Delete files and their chunks, one file a transaction; return how many. Objects: `sweep`."""
    ids = list(db.session.scalars(select(File.id).where(*conditions)))
    db.session.commit()
    for file_id in ids:
        db.session.execute(delete(FileChunk).where(FileChunk.file_id == file_id))
        db.session.execute(delete(File).where(File.id == file_id))
        db.session.commit()
    return len(ids)


def sweep(*conditions: Any) -> int:
    """Remove objects whose files are gone; return how many.

    Those of a store that is away wait for the next night.
    """
    is_wanted = exists().where(File.id == FileObject.file_id)
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


def drop_earlier(report_id: str, attempt: int) -> int:
    """Delete what earlier attempts at a report left behind."""
    dropped = drop_files(File.report_id == report_id, File.attempt < attempt)
    sweep(FileObject.report_id == report_id)
    return dropped


def drop_expired(now: datetime, kept: timedelta) -> int:
    """Delete report files older than they are kept, and uploads nobody loaded within a day."""
    old = (File.kind != UPLOAD) & (File.created_at < now - kept)
    left = (File.kind == UPLOAD) & (File.created_at < now - UPLOADS_KEPT)
    dropped = drop_files(old | left)
    # Also of reports that were deleted while the store was away.
    sweep()
    return dropped
