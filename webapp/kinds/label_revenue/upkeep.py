"""Uploads whose worker is gone are loaded again; files that no upload knows are removed.

The row is the truth and RQ the transport: an upload that waits, or is being loaded, has a job of a
known id that waits or is heard of, or else it is put back into the queue. A load is one
transaction, and the same files again change nothing, so a second start does no harm.
"""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import current_app
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from sqlalchemy import select, update

from webapp.extensions import db, redis_client
from webapp.kinds.label_revenue import work
from webapp.kinds.label_revenue.models import Upload
from webapp.lib.moments import utcnow

log = logging.getLogger(__name__)
# A worker is heard of every ten seconds while its job runs.
SILENT_TOO_LONG = timedelta(seconds=60)
JUST_TAKEN = timedelta(seconds=10)
ORPHANED = timedelta(days=1)


def run_maintenance(now: datetime | None = None) -> int:
    """Put uploads whose job is gone back into the queue; return how many were looked after."""
    now = now or utcnow()
    active = select(Upload.id).where(Upload.status.in_(("queued", "loading")))
    upload_ids = list(db.session.scalars(active))
    db.session.commit()
    try:
        lost = [one for one in upload_ids if not _has_job(one, now)]
    except RedisError:
        return 0
    return sum(_start_again(upload_id) for upload_id in lost)


def _has_job(upload_id: str, now: datetime) -> bool:
    """Say whether a job waits for its turn, or runs with a worker that was heard of lately."""
    job_id = work.upload_job_id(upload_id)
    try:
        job = Job.fetch(job_id, connection=redis_client(), serializer=JSONSerializer)
    except NoSuchJobError:
        return False
    status = job.get_status()
    if status == JobStatus.STARTED:
        return _since(job.last_heartbeat, now) < SILENT_TOO_LONG
    if status != JobStatus.QUEUED:
        return False
    return job.get_position() is not None or _since(job.enqueued_at, now) < JUST_TAKEN


def _since(moment: datetime | None, now: datetime) -> timedelta:
    if moment is None:
        return timedelta.max
    return now - (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _start_again(upload_id: str) -> int:
    upload = db.session.get(Upload, upload_id, populate_existing=True)
    if upload is None or upload.status not in {"queued", "loading"}:
        return 0
    was, values = upload.status, {"status": "queued"}
    if was == "loading":
        values = _after_loss(upload)
    changed = db.session.execute(
        update(Upload).where(Upload.id == upload_id, Upload.status == was).values(values)
    )
    db.session.commit()
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        return 0
    log.warning("upload %s of label revenue was %s without a job", upload_id, was)
    if values["status"] == "queued":
        work.enqueue_upload(upload_id)
    return 1


def _after_loss(upload: Upload) -> dict[str, Any]:
    """Return what becomes of an upload whose worker was lost: queued again, a few times."""
    lost = upload.options.get("lost", 0) + 1
    if lost < current_app.config["MAX_ATTEMPTS"]:
        sentence = "The worker was lost; loading again."
        return {
            "status": "queued",
            "sentence": sentence,
            "options": upload.options | {"lost": lost},
        }
    sentence = (
        f"The worker was lost {lost} times while loading these files, so it was given up. Load "
        "them again, or ask the operator to look at the workers' memory."
    )
    return {"status": "failed", "sentence": sentence}


def remove_orphans(now: datetime | None = None) -> int:
    """Remove folders of uploads that no row knows (any more); return how many."""
    now = now or utcnow()
    known = set(db.session.scalars(select(Upload.id)))
    db.session.commit()
    count = 0
    for folder in Path(current_app.config["DATA_DIR"], "label_revenue").glob("*/uploads/*"):
        changed = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
        # A younger one may belong to files that are still being sent.
        if folder.name not in known and now - changed > ORPHANED:
            shutil.rmtree(folder, ignore_errors=True)
            count += 1
    return count
