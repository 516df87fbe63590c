"""Tables of project storage: projects, who is in them, providers, file events, what was counted.

Events are the truth and are never changed. Counters (a row per project and provider) and months (a
row per project and month) are what reads touch; both are a function of the set of events with
numbers up to the project's `counted_seq` but for those whose time has not come.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Date,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from webapp.extensions import CompanyId, Model, UserId, UtcDateTime, UuidText, kept
from webapp.kinds.project_storage.compute import EVENT_TYPES, UPLOAD
from webapp.lib.moments import utcnow

PROJECT_KEY = "project_storage_project.key"
ADMIN = "project_admin"
# What each role in a project is called, and what it is for.
ROLES = {
    ADMIN: ("Project Admin", "Everything, and gives roles"),
    "project_viewer": ("Project Viewer", "Sees what is there"),
    "file_downloader": ("File Downloader", "Sees and downloads"),
    "file_uploader": ("File Uploader", "Sees and uploads"),
    "file_editor": ("File Editor", "Views, uploads, trashes and restores"),
}
# Event types each role may report; all five may view.
MAY_REPORT = {
    ADMIN: frozenset(EVENT_TYPES),
    "file_editor": frozenset(EVENT_TYPES),
    "file_uploader": frozenset({UPLOAD}),
}


class WholeNumber(TypeDecorator[int]):
    """A whole number of up to 40 digits: bytes times microseconds pass 64 bits soon.

    SQLite has no such number, so it keeps the digits as text; nothing is summed by the database.
    """

    impl = Numeric(40, 0)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        plain = String(41) if dialect.name == "sqlite" else Numeric(40, 0)
        return dialect.type_descriptor(plain)

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return str(value) if dialect.name == "sqlite" else Decimal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class Project(Model):
    """A project of a company, and how far its events were counted.

    last_seq:      number of the newest event; events of a project are numbered without gaps
    counted_seq:   number up to which counters and months hold all events
    waiting_since: when the oldest event not counted yet came in; None where all are counted
    due_at:        when the next event that was dated ahead counts; None where there is none
    retired_at:    since when it takes no more events; what it holds goes on to count
    deleted_at:    set while the rows of a deleted project are being purged
    """

    __tablename__ = "project_storage_project"
    __table_args__ = (
        UniqueConstraint("company_id", "id"),
        Index("ix_project_storage_project_waiting", "waiting_since"),
        Index("ix_project_storage_project_due", "due_at"),
        Index("ix_project_storage_project_deleted", "deleted_at"),
    )

    key: Mapped[int] = mapped_column(Integer, primary_key=True)
    company_id: Mapped[CompanyId]
    id: Mapped[UuidText] = mapped_column(default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    received_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    counted_seq: Mapped[int] = mapped_column(BigInteger, default=0)
    description: Mapped[str] = mapped_column(Text, default="", server_default="")
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    waiting_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Permission(Model):
    """One user's role in one project."""

    __tablename__ = "project_storage_permission"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, index=True, autoincrement=False
    )
    auth_role: Mapped[str] = mapped_column(String(20))


class Provider(Model):
    """Where file versions are stored.

    in_place: another upload of a file version replaces it there, and counts from its own moment
    """

    __tablename__ = "project_storage_provider"
    __table_args__ = (UniqueConstraint("company_id", "id"),)

    key: Mapped[int] = mapped_column(Integer, primary_key=True)
    company_id: Mapped[CompanyId]
    id: Mapped[UuidText] = mapped_column(default=lambda: str(uuid4()))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    in_place: Mapped[bool] = mapped_column(default=False, server_default=false())
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)


class CompanyQuota(Model):
    """How much all projects of a company may hold."""

    __tablename__ = "project_storage_quota"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    quota_bytes: Mapped[int] = mapped_column(BigInteger)


class FileEvent(Model):
    """What happened to one file version; written once.

    at_us: when it happened, microseconds since 1970 UTC; bytes, provider, uploader: of uploads
    """

    __tablename__ = "project_storage_event"
    __table_args__ = (
        UniqueConstraint("project_key", "event_id"),
        Index("ix_project_storage_event_version", "project_key", "version_id"),
        kept("received_at", "STORAGE_EVENTS_KEPT_MONTHS"),
    )

    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(8))
    version_id: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    provider_key: Mapped[int | None] = mapped_column(
        Integer, ForeignKey("project_storage_provider.key")
    )
    uploader: Mapped[str] = mapped_column(String(255), default="", server_default="")
    at_us: Mapped[int] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AheadEvent(Model):
    """An event dated ahead of now, which counts when its time has come."""

    __tablename__ = "project_storage_ahead"

    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at_us: Mapped[int] = mapped_column(BigInteger)


class UnplacedEvent(Model):
    """An event without a place in its version's history, and why: it changes nothing."""

    __tablename__ = "project_storage_unplaced"

    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    reason: Mapped[str] = mapped_column(String(20))


class Counter(Model):
    """What a project holds at one provider; a row for every provider it ever uploaded to."""

    __tablename__ = "project_storage_counter"

    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, autoincrement=False
    )
    provider_key: Mapped[int] = mapped_column(
        Integer,
        ForeignKey("project_storage_provider.key"),
        primary_key=True,
        autoincrement=False,
    )
    active_file_versions: Mapped[int] = mapped_column(BigInteger, default=0)
    active_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    trash_file_versions: Mapped[int] = mapped_column(BigInteger, default=0)
    trash_bytes: Mapped[int] = mapped_column(BigInteger, default=0)


class MonthChange:
    """By how much a month changed a project, by provider and uploader; without change no row.

    The sum up to a month is what the project held at its end. The areas are bytes times the
    microseconds from each change to the month's end, which byte-months are made of. What lies in
    the trash now is also kept under the month in which it came there.
    """

    project_key: Mapped[int] = mapped_column(
        Integer, ForeignKey(PROJECT_KEY), primary_key=True, autoincrement=False
    )
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    provider_key: Mapped[int] = mapped_column(
        Integer,
        ForeignKey("project_storage_provider.key"),
        primary_key=True,
        autoincrement=False,
    )
    uploader: Mapped[str] = mapped_column(String(255), primary_key=True)
    active_file_versions: Mapped[int] = mapped_column(BigInteger, default=0)
    active_bytes: Mapped[int] = mapped_column(WholeNumber, default=0)
    trash_file_versions: Mapped[int] = mapped_column(BigInteger, default=0)
    trash_bytes: Mapped[int] = mapped_column(WholeNumber, default=0)
    active_area: Mapped[int] = mapped_column(WholeNumber, default=0)
    trash_area: Mapped[int] = mapped_column(WholeNumber, default=0)
    lying_file_versions: Mapped[int] = mapped_column(BigInteger, default=0)
    lying_bytes: Mapped[int] = mapped_column(WholeNumber, default=0)


class StorageMonth(MonthChange, Model):
    """The changes of a project's months, as its events and what was rolled up of them say."""

    __tablename__ = "project_storage_month"


class RolledUpMonth(MonthChange, Model):
    """The part of those changes whose events are not kept any more."""

    __tablename__ = "project_storage_rolled_up"
