"""Uploads: files that wait, are looked through by a worker, and are loaded by one.

The bytes are stored files, so every process reaches them. What a look found is in the upload's row;
pages show that and read no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import IO, Any
from uuid import UUID

from flask import current_app
from sqlalchemy import JSON, Index, String, Text, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from webapp import jobs
from webapp.accounts import Scope
from webapp.errors import Conflict, NotFound, ReportError
from webapp.extensions import (
    CompanyId,
    Model,
    NewId,
    UserId,
    UtcDateTime,
    UuidText,
    db,
    kept,
    rows_changed,
)
from webapp.files import FileObject, StoredFile, drop_files, store_file, sweep
from webapp.intake.columns import heading_key
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable

NO_UPLOAD = "There is no such upload; it was discarded, or nobody loaded it in time."
UPLOAD, REJECTED = "upload", "rejected"
LONGEST_NAME = 100
LOOKING, READY, LOADING = "looking", "ready", "loading"
LOADED, REFUSED, FAILED = "loaded", "refused", "failed"
AT_WORK = (LOOKING, LOADING)
LOADABLE = (READY, REFUSED, FAILED)


class Upload(Model):
    """Files sent through the pages, before and while they are loaded.

    kind:    the slug of the kind that loads them
    files:   by role: name, file_id or url, and what the look found
    options: what a person said of them
    result:  what came of the load; `rejected`: the file of rows that were left out
    """

    __tablename__ = "intake_upload"
    __table_args__ = (
        Index("ix_intake_upload_company", "company_id", "created_at"),
        kept("created_at", "UPLOADS_KEPT_DAYS"),
    )

    id: Mapped[NewId]
    company_id: Mapped[CompanyId]
    created_by: Mapped[UserId]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow)
    kind: Mapped[str] = mapped_column(String(40))
    files: Mapped[dict[str, Any]] = mapped_column(JSON)
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    status: Mapped[str] = mapped_column(String(10), default=LOOKING)
    sentence: Mapped[str] = mapped_column(Text, default="")
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)
    result: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    job_id: Mapped[UuidText | None]

    @property
    def names(self) -> str:
        """The names of the files, as they were sent."""
        return ", ".join(str(file["name"]) for file in self.files.values())

    @property
    def looks(self) -> dict[str, dict[str, Any]]:
        """What was found in the files, by role."""
        return {role: file["look"] for role, file in self.files.items() if "look" in file}

    @property
    def questions(self) -> list[Any]:
        """What the files do not tell by themselves: name, sentence, examples."""
        return [one for look in self.looks.values() for one in look.get("asks", ())]

    @property
    def broken(self) -> dict[str, str]:
        """By role why a file cannot be read."""
        return {role: look["broken"] for role, look in self.looks.items() if "broken" in look}

    @property
    def bad_rows(self) -> int:
        """How many rows cannot be used."""
        return sum(look.get("bad", 0) for look in self.looks.values())

    @property
    def state(self) -> str:
        """The status as people see it: ready only where every row can be loaded as it is."""
        if self.status != READY:
            return self.status
        if self.broken:
            return "cannot be read"
        return "needs an answer" if self.questions else "has errors" if self.bad_rows else READY


class SavedMapping(Model):
    """Which columns of files with one header are which fields, under a name.

    header:  a hash of the header, by which the mapping is found again
    mapping: `columns`, `values` and `notes`, as `Choices` has them
    """

    __tablename__ = "intake_mapping"

    company_id: Mapped[CompanyId] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    role: Mapped[str] = mapped_column(String(40), primary_key=True)
    header: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME))
    mapping: Mapped[dict[str, Any]] = mapped_column(JSON)


def header_hash(header: Sequence[str]) -> str:
    """Return what a header is found again by: its headings, compared as `heading_key` does."""
    text = "\n".join(heading_key(one) for one in header)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def find_mapping(
    company_id: str, kind: str, role: str, header: Sequence[str]
) -> SavedMapping | None:
    """Return the mapping that was saved for files with this header."""
    return db.session.get(SavedMapping, (company_id, kind, role, header_hash(header)))


def save_mapping(
    company_id: str, kind: str, role: str, header: Sequence[str], name: str, said: Mapping[str, Any]
) -> None:
    """Keep a mapping for files with this header, in the session; the caller commits."""
    mapping = {key: said[key] for key in ("columns", "values", "notes")}
    key = {"company_id": company_id, "kind": kind, "role": role, "header": header_hash(header)}
    db.session.merge(SavedMapping(**key, name=name, mapping=mapping))


def list_mappings(scope: Scope, kind: str) -> list[SavedMapping]:
    """Return the company's saved mappings of a kind, by name."""
    query = select(SavedMapping).where(
        SavedMapping.company_id == scope.company_id, SavedMapping.kind == kind
    )
    return list(db.session.scalars(query.order_by(SavedMapping.name, SavedMapping.header)))


def find_saved(scope: Scope, kind: str, role: str, header: str) -> SavedMapping:
    """Return a saved mapping of the caller's company. Raises: NotFound"""
    found = db.session.get(SavedMapping, (scope.company_id, kind, role, header))
    if found is None:
        raise NotFound("There are no such saved columns.")
    return found


def keep_upload(
    scope: Scope,
    kind: str,
    sent: Mapping[str, tuple[IO[bytes], str]],
    urls: Mapping[str, str] | None = None,
) -> Upload:
    """Keep files and let a worker look through them; return the upload, committed.

    sent:   content and name by role
    Raises: Conflict where the company's uploads are as many, or as large, as they may be
    """
    _check_room(scope.company_id, sum(content.seek(0, 2) for content, _ in sent.values()))
    files: dict[str, Any] = {}
    for role, (content, name) in sent.items():
        content.seek(0)
        shown = name.replace("\\", "/").rpartition("/")[2][-200:]
        shown = shown if storable(shown) else "upload"
        file_id = store_file(scope.company_id, content, kind=UPLOAD, format="", name=shown)
        files[role] = {"name": shown, "file_id": file_id}
    for role, url in (urls or {}).items():
        files[role] = {"name": role, "url": url}
    owner = {"company_id": scope.company_id, "created_by": scope.user_id}
    upload = Upload(kind=kind, files=files, options={}, **owner)
    db.session.add(upload)
    db.session.flush()
    _start(upload, LOOKING, scope.user_id)
    db.session.commit()
    return upload


def _check_room(company_id: str, size_bytes: int) -> None:
    most, most_mb = (
        current_app.config[name] for name in ("COMPANY_UPLOADS_MOST", "COMPANY_UPLOADS_MB")
    )
    waiting = select(func.count()).select_from(Upload).where(Upload.company_id == company_id)
    if (db.session.scalar(waiting.where(Upload.status != LOADED)) or 0) >= most:
        raise Conflict(
            f"This company has {most:,} uploads, which is the limit: load or delete some."
        )
    kept = select(func.coalesce(func.sum(StoredFile.size_bytes), 0)).where(
        StoredFile.company_id == company_id, StoredFile.kind.in_((UPLOAD, REJECTED))
    )
    if (db.session.scalar(kept) or 0) + size_bytes > most_mb * 1_000_000:
        raise Conflict(
            f"With this one the uploads of this company would exceed {most_mb:,} MB, which is the "
            "limit: load or delete some."
        )


def _start(upload: Upload, status: str, user_id: str) -> None:
    """Begin a look (LOOKING) or a load (LOADING), in the session; the caller commits."""
    task = f"{upload.kind}-{'look' if status == LOOKING else 'load'}"
    job = jobs.start(
        task, company_id=upload.company_id, user_id=user_id, payload={"upload": upload.id}
    )
    db.session.execute(
        update(Upload)
        .where(Upload.id == upload.id)
        .values(status=status, job_id=job.id, sentence="", problems=[])
    )


def begin(user_id: str, upload: Upload, status: str, options: Mapping[str, Any]) -> None:
    """Begin a look or a load of an upload that rests. Commits. Raises: Conflict, NotFound"""
    taken = rows_changed(
        update(Upload)
        .where(Upload.id == upload.id, Upload.status.in_(LOADABLE))
        .values(status=status, options=dict(options))
    )
    if taken != 1:
        raise _in_the_way(upload.id)
    _start(upload, status, user_id)
    db.session.commit()


def find_upload(scope: Scope, kind: str, upload_id: UUID | str) -> Upload:
    """Return an upload of the caller's company; another company's is as unknown as none."""
    found = db.session.get(Upload, str(upload_id))
    if found is None or found.company_id != scope.company_id or found.kind != kind:
        raise NotFound(NO_UPLOAD)
    return found


def _in_the_way(upload_id: str) -> ReportError:
    """Roll back, and return why an upload cannot be begun or forgotten."""
    db.session.rollback()
    status = db.session.scalar(select(Upload.status).where(Upload.id == upload_id))
    return Conflict(f"This upload is {status}.") if status else NotFound(NO_UPLOAD)


def list_uploads(scope: Scope, kind: str) -> list[Upload]:
    """Return the company's uploads, newest first."""
    query = select(Upload).where(Upload.company_id == scope.company_id, Upload.kind == kind)
    return list(db.session.scalars(query.order_by(Upload.created_at.desc())))


def forget_upload(upload_id: str) -> None:
    """Remove an upload and its files; commits. Raises: Conflict while it is at work, NotFound"""
    rests = (Upload.id == upload_id) & Upload.status.not_in(AT_WORK)
    # First of all, so that nobody begins to load what is going; its files are found without it.
    gone = delete(Upload).where(rests).returning(Upload.files, Upload.result)
    found = db.session.execute(gone.execution_options(synchronize_session=False)).first()
    if found is None:
        raise _in_the_way(upload_id)
    db.session.commit()
    _drop(file_ids(found))


def drop_bytes(upload_id: str, keep: str) -> None:
    """Delete what an upload has stored, if it is still there; `keep` leaves its rejected rows."""
    if upload := db.session.get(Upload, upload_id, populate_existing=True):
        _drop(file_ids(upload) - {upload.result.get(keep)})


def _drop(ids: set[str]) -> None:
    drop_files(StoredFile.id.in_(ids))
    sweep(FileObject.file_id.in_(ids))


def file_ids(upload: Any) -> set[str]:
    """Return the stored files of an upload, that of its rejected rows among them."""
    ids = {file.get("file_id") for file in upload.files.values()}
    return {one for one in (*ids, upload.result.get(REJECTED)) if one}


def drop_expired_uploads(now: datetime) -> int:
    """Remove uploads that are older than they are kept, and files no upload knows."""
    before = now - timedelta(days=current_app.config["UPLOADS_KEPT_DAYS"])
    old = select(Upload.id).where(Upload.created_at < before, Upload.status.not_in(AT_WORK))
    found = list(db.session.scalars(old))
    for upload_id in found:
        with suppress(Conflict, NotFound):
            forget_upload(upload_id)
    known = {one for upload in db.session.scalars(select(Upload)) for one in file_ids(upload)}
    lying = select(StoredFile.id).where(
        StoredFile.kind.in_((UPLOAD, REJECTED)), StoredFile.created_at < before
    )
    drop_files(StoredFile.id.in_(set(db.session.scalars(lying)) - known))
    sweep()
    return len(found)
