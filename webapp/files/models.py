"""The tables of stored files: what a file is, its chunks, or the place of its object."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.extensions import CompanyId, Model, NewId, UtcDateTime, UuidText, kept
from webapp.lib.moments import utcnow


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
