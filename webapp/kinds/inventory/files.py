"""The files of inventory reports: which are ready, which go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import func, select

from webapp.extensions import db
from webapp.files import FileObject, StoredFile, drop_files, sweep
from webapp.lib.batches import batched

MIME_TYPES = {
    "XLSX": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "PDF": "application/pdf",
    "JSON": "application/json",
}


def files_of(report_id: str, attempt: int) -> dict[str, StoredFile]:
    """Return the ready files of a report's attempt by report type."""
    query = select(StoredFile).where(
        StoredFile.report_id == report_id,
        StoredFile.attempt == attempt,
        StoredFile.ready_at.is_not(None),
    )
    return {file.kind: file for file in db.session.scalars(query)}


def ready_counts(report_ids: Iterable[str]) -> dict[tuple[str, int], int]:
    """Return how many files are ready, by report id and attempt."""
    query = select(StoredFile.report_id, StoredFile.attempt, func.count()).where(
        StoredFile.ready_at.is_not(None)
    )
    found: dict[tuple[str, int], int] = {}
    for ids in batched(report_ids):
        some = query.where(StoredFile.report_id.in_(ids))
        rows = db.session.execute(some.group_by(StoredFile.report_id, StoredFile.attempt))
        found |= {(str(report_id), attempt): count for report_id, attempt, count in rows}
    return found


def drop_earlier(report_id: str, attempt: int) -> int:
    """Delete what earlier attempts at a report left behind."""
    dropped = drop_files(StoredFile.report_id == report_id, StoredFile.attempt < attempt)
    sweep(FileObject.report_id == report_id)
    return dropped


def drop_expired_files(now: datetime, kept: timedelta) -> int:
    """Delete report files older than they are kept; return how many."""
    old = StoredFile.report_id.is_not(None) & (StoredFile.created_at < now - kept)
    dropped = drop_files(old)
    # Also of reports that were deleted while the store was away.
    sweep()
    return dropped
