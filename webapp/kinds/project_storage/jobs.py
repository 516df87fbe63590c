"""The jobs workers do for project storage: each carries a project's key and nothing else.

A job that is lost loses nothing: the janitor finds the project again by its rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flask import current_app
from redis.exceptions import RedisError

from webapp.extensions import db, redis_client, report_queue
from webapp.kinds.project_storage import counting, projects

log = logging.getLogger(__name__)

LONGEST_S = 3600
# While this flag lasts a job is on its way for the project, and further lists add none.
ON_ITS_WAY_S = 30


def ask_to_count(project_key: int) -> bool:
    """Hand the counting of a project to the workers; False when Redis is away."""
    return _enqueue(count_job, "count", project_key)


def ask_to_purge(project_key: int) -> bool:
    """Hand the rest of a deleted project to the workers; False when Redis is away."""
    return _enqueue(purge_job, "purge", project_key)


def _enqueue(job: Callable[[int], None], verb: str, project_key: int) -> bool:
    flag = _flag(verb, project_key)
    try:
        if redis_client().set(flag, 1, nx=True, ex=ON_ITS_WAY_S):
            # Counting takes moments; it need not wait behind reports that take hours.
            report_queue().enqueue_call(
                job,
                args=(project_key,),
                timeout=LONGEST_S,
                result_ttl=0,
                failure_ttl=86400,
                description=f"project storage: {verb}",
                at_front=True,
            )
    except RedisError as error:
        log.warning("project %s waits for Redis: %s", project_key, type(error).__name__)
        return False
    return True


def _flag(verb: str, project_key: int) -> str:
    return f"{current_app.config['QUEUE']}:project-storage:{verb}:{project_key}"


def count_job(project_key: int) -> None:
    """Count a project's events: an RQ job, in a fork that needs connections of its own."""
    db.engine.dispose(close=False)
    # Before counting: events that come in from here on ask for a job of their own.
    redis_client().delete(_flag("count", project_key))
    counting.count_project(project_key)


def purge_job(project_key: int) -> None:
    """Remove what is left of a deleted project: an RQ job."""
    db.engine.dispose(close=False)
    redis_client().delete(_flag("purge", project_key))
    while not projects.purge(project_key):
        log.info("purging project %s", project_key)
