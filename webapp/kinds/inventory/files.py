"""Files in the database, in chunks: written by workers, read by every web process.

A file is read only when all of it is there. Chunks are read one at a time on connections of their
own, so that a slow download holds neither memory nor a transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import IO, Any

from sqlalchemy import Engine, delete, func, insert, select, update

from webapp.extensions import db, utcnow
from webapp.kinds.inventory.models import File, FileChunk

CHUNK_BYTES = 512 * 1024
UPLOAD = "UPLOAD"
UPLOADS_KEPT = timedelta(days=1)
# What is made here: report type → its one file type.
MADE = {
    "DATA_DUMP": "XLSX",
    "GHG_PROTOCOL": "XLSX",
    "ISO14064": "PDF",
    "REPORT_DATA": "JSON",
}
MIME_TYPES = {
    "XLSX": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "PDF": "application/pdf",
    "JSON": "application/json",
}


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

    check: called before each chunk; what it raises ends the storing, the rest is swept later
    """
    engine = db.engine
    file = File(company_id=company_id, kind=kind, format=format, name=name)
    file.report_id, file.attempt = report_id, attempt
    db.session.add(file)
    db.session.commit()
    file_id = file.id
    digest, size_bytes, position = hashlib.sha256(), 0, 0
    while data := content.read(CHUNK_BYTES):
        check()
        with engine.begin() as connection:
            values = {"file_id": file_id, "position": position, "data": data}
            connection.execute(insert(FileChunk).values(values))
        digest.update(data)
        size_bytes += len(data)
        position += 1
    with engine.begin() as connection:
        ready = {"size_bytes": size_bytes, "sha256": digest.hexdigest(), "ready_at": utcnow()}
        connection.execute(update(File).where(File.id == file_id).values(ready))
    return file_id


def read_chunks(file_id: str, engine: Engine | None = None) -> Iterator[bytes]:
    """Yield a file's bytes; it just ends where the file is deleted meanwhile."""
    engine = engine or db.engine
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
    """Delete files and their chunks, one file a transaction; return how many."""
    ids = list(db.session.scalars(select(File.id).where(*conditions)))
    db.session.commit()
    for file_id in ids:
        db.session.execute(delete(FileChunk).where(FileChunk.file_id == file_id))
        db.session.execute(delete(File).where(File.id == file_id))
        db.session.commit()
    return len(ids)


def drop_earlier(report_id: str, attempt: int) -> int:
    """Delete what earlier attempts at a report left behind."""
    return drop_files(File.report_id == report_id, File.attempt < attempt)


def drop_expired(now: datetime, kept: timedelta) -> int:
    """Delete report files older than they are kept, and uploads nobody loaded within a day."""
    old = (File.kind != UPLOAD) & (File.created_at < now - kept)
    left = (File.kind == UPLOAD) & (File.created_at < now - UPLOADS_KEPT)
    return drop_files(old | left)
