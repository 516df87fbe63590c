"""What workers do for this kind beside reports: add up large batches, load uploaded files.

Jobs carry ids; the rows in the database say what is to be done, so a job may be lost or come twice.
Progress of an upload goes to Redis: the loading transaction holds the database's write lock.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from flask import current_app
from redis.exceptions import RedisError
from sqlalchemy import update

from webapp.errors import ReportError
from webapp.extensions import db, redis_client, report_queue
from webapp.intake import LoadRefused
from webapp.jobs.transport import forget as forget_job
from webapp.kinds.label_revenue import fetch, loads, sums
from webapp.kinds.label_revenue.formats import Role
from webapp.kinds.label_revenue.models import Upload
from webapp.kinds.label_revenue.reading import Options, Source
from webapp.lib.months import parse_month

log = logging.getLogger(__name__)
PROGRESS_KEPT_S = 3600
PROGRESS_EVERY_S = 0.5
# What a load is doing, in words.
STAGES = {
    "streams": "Reading streams",
    "users": "Reading listeners",
    "tracks": "Reading tracks",
    "sums": "Adding up by month, listener and label",
}
STREAMS_PER_JOB_S = 21_600


def home(company_id: str) -> Path:
    """Return the company's folder for uploads and copies of tracks."""
    return Path(current_app.config["DATA_DIR"]) / "label_revenue" / company_id


def copies(company_id: str) -> Path:
    """Return where last good copies of tracks are kept."""
    return home(company_id) / "tracks"


def upload_folder(upload: Upload) -> Path:
    """Return where the files of an upload are."""
    return home(upload.company_id) / "uploads" / upload.id


def enqueue_pending(company_id: str) -> bool:
    """Let a worker add up what waits; False where Redis is away (the next reader does it)."""
    return _enqueue(pending_job, company_id, "sums of label revenue")


def enqueue_upload(upload_id: str) -> bool:
    """Let a worker load an upload; False where Redis is away."""
    job_id = upload_job_id(upload_id)
    return _enqueue(upload_job, upload_id, "upload of label revenue", job_id)


def upload_job_id(upload_id: str) -> str:
    """Return the id of an upload's job; the low line tells it from a report's."""
    return f"upload_{upload_id}"


def _enqueue(
    job: Callable[[str], None], argument: str, description: str, job_id: str | None = None
) -> bool:
    try:
        if job_id is not None:
            forget_job(job_id)
        report_queue().enqueue_call(
            job,
            args=(argument,),
            job_id=job_id,
            timeout=STREAMS_PER_JOB_S,
            result_ttl=600,
            failure_ttl=86400,
            description=description,
        )
    except RedisError as error:
        log.warning("%s waits for Redis: %s", description, type(error).__name__)
        return False
    return True


def pending_job(company_id: str) -> None:
    """Add up a company's large batches: an RQ job, in a fork with connections of its own."""
    db.engine.dispose(close=False)
    sums.process_pending(company_id)


def upload_job(upload_id: str) -> None:
    """Load an upload: an RQ job, in a fork with connections of its own."""
    db.engine.dispose(close=False)
    load_upload(upload_id)


def load_upload(upload_id: str) -> None:
    """Load a queued upload; one that is not queued (any more) is left alone."""
    taken = db.session.execute(
        update(Upload)
        .where(Upload.id == upload_id, Upload.status == "queued")
        .values(status="loading")
    )
    db.session.commit()
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        return
    upload = db.session.get_one(Upload, upload_id)
    try:
        _load(upload)
    except LoadRefused as refused:
        problems = [[one.file, one.line, one.column, one.sentence] for one in refused.problems]
        _end(upload_id, "refused", refused.message, problems)
    except ReportError as error:
        _end(upload_id, "refused", error.message)
    except Exception as error:
        _end(
            upload_id, "failed", f"A fault of this program ended the load ({type(error).__name__})."
        )
        raise


def _load(upload: Upload) -> None:
    upload_id, company_id = upload.id, upload.company_id
    folder = upload_folder(upload)
    sources: dict[Role, Source] = {}
    notes = []
    for role, file in upload.files.items():
        if "url" in file:
            private = bool(current_app.config.get("FETCH_PRIVATE_ADDRESSES"))
            fetched = fetch.fetch_tracks(file["url"], copies(company_id), private_allowed=private)
            sources[role] = Source(fetched.path, "tracks")  # type: ignore[index]
            notes += [fetched.note] if fetched.note else []
        else:
            sources[role] = Source(folder / role, file["name"])  # type: ignore[index]
    options = _options(upload)
    loaded = loads.load(
        company_id, sources, options, user_id=upload.created_by, progress=_Progress(upload_id)
    )
    if not loaded.batch.summed:
        sums.process_pending(company_id)
    sentence = " ".join([*notes, *loaded.notes])
    _end(upload_id, "loaded", sentence, batch_id=loaded.batch.id)
    for role in sources:
        (folder / role).unlink(missing_ok=True)


def _options(upload: Upload) -> Options:
    said = {name: value for name, value in upload.options.items() if name != "lost"}
    if month := said.pop("from_month", None):
        said["from_month"] = parse_month(month)
    return Options(rejected=upload_folder(upload) / "rejected.csv", **said)


def _end(
    upload_id: str,
    status: str,
    sentence: str,
    problems: list[list[object]] | None = None,
    batch_id: str | None = None,
) -> None:
    db.session.rollback()
    upload = db.session.get_one(Upload, upload_id)
    upload.status, upload.sentence, upload.batch_id = status, sentence, batch_id
    upload.problems = problems or []
    db.session.commit()


class _Progress:
    """Tells Redis how far a load is, twice a second."""

    def __init__(self, upload_id: str) -> None:
        self._key = _progress_key(upload_id)
        self._next = 0.0
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now < self._next and what == self._what:
            return
        self._next, self._what = now + PROGRESS_EVERY_S, what
        try:
            redis_client().set(self._key, f"{what} {done} {total}", ex=PROGRESS_KEPT_S)
        except RedisError as error:
            log.debug("no progress without Redis: %s", type(error).__name__)


def progress_of(upload_id: str) -> tuple[str, int, int] | None:
    """Return (what, done, total) of a load that is going on, None where nothing is known."""
    try:
        raw = redis_client().get(_progress_key(upload_id))
    except RedisError:
        return None
    if not isinstance(raw, bytes):
        return None
    what, done, total = raw.decode().split(" ")
    return what, int(done), int(total)


def _progress_key(upload_id: str) -> str:
    return f"label-revenue:upload:{upload_id}"


def forget_upload(upload: Upload) -> None:
    """Remove an upload and its files."""
    shutil.rmtree(upload_folder(upload), ignore_errors=True)
    db.session.delete(upload)
    db.session.commit()
