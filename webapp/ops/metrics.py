"""Metrics for Prometheus, worked out at each scrape from the database and Redis.

Nothing is kept in a process's memory, so the numbers are the same whichever web process is asked,
and a restart loses none. The one exception is the open streams, which belong to a process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from flask import current_app
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.engine.models import STATUSES, Report, StoredMonth
from webapp.engine.registry import kinds
from webapp.extensions import db, quick_redis
from webapp.jobs import Job
from webapp.lib.moments import utcnow
from webapp.ops import health
from webapp.ops.workers import live_workers
from webapp.version import VERSION

WINDOW = timedelta(hours=24)
QUANTILES = (0.5, 0.95, 1.0)
MOST_DURATIONS = 5000


def render() -> bytes:
    """Return all metrics as text; a part that is away is 0 in `*_up` and its numbers are absent."""
    registry = CollectorRegistry()
    registry.register(_Scrape())
    return generate_latest(registry)


class _Scrape:
    """Collects once, for one answer."""

    def collect(self) -> Iterator[Metric]:
        about = GaugeMetricFamily("build_info", "1; the version as a label.", labels=["version"])
        about.add_metric([VERSION], 1)
        yield about
        yield from _from_database()
        yield from _from_redis()
        hub = current_app.extensions["line_hub"]
        yield _gauge("report_streams_open", "Event streams open in this web process.", len(hub))


def _from_database() -> Iterator[Metric]:
    try:
        found = [*_reports(), *_durations(), *_calls(), *_months(), *_queue()]
    except SQLAlchemyError:
        db.session.rollback()
        yield _gauge("database_up", "1 while the database answers.", 0)
        return
    yield _gauge("database_up", "1 while the database answers.", 1)
    yield _gauge("janitor_up", "1 while a janitor works.", int(health.janitor().ok))
    yield from found


def _queue() -> Iterator[Metric]:
    waiting = health.queue()
    if waiting is None:
        return
    yield _gauge("report_queue_waiting", "Queued reports.", waiting.waiting)
    yield _gauge(
        "report_queue_oldest_seconds",
        "How long the oldest queued report has waited.",
        waiting.oldest_s,
    )


def _reports() -> Iterator[Metric]:
    counts = dict.fromkeys(((kind, status) for kind in kinds() for status in STATUSES), 0)
    # Of jobs, by an index: a report's kind is its job's task.
    rows = db.session.execute(
        select(Job.task, Job.status, func.count())
        .where(Job.task.in_(list(kinds())))
        .group_by(Job.task, Job.status)
    )
    counts |= {(kind, status): count for kind, status, count in rows}
    family = GaugeMetricFamily("reports", "Reports kept, by state.", labels=["kind", "status"])
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    yield family
    lost = db.session.scalar(select(func.sum(Job.lost)).where(Job.task.in_(list(kinds())))) or 0
    yield _gauge("report_workers_lost", "Times a kept report lost its worker.", lost)


def _durations() -> Iterator[Metric]:
    rows = db.session.execute(
        select(Job.task, Job.started_at, Job.finished_at)
        .where(Job.finished_at >= utcnow() - WINDOW, Job.started_at.is_not(None))
        .where(Job.task.in_(list(kinds())))
        .order_by(Job.finished_at.desc())
        .limit(MOST_DURATIONS)
    )
    by_kind: dict[str, list[float]] = defaultdict(list)
    for kind, started_at, finished_at in rows:
        if started_at and finished_at:
            by_kind[kind].append((finished_at - started_at).total_seconds())
    family = GaugeMetricFamily(
        "report_duration_seconds",
        "How long reports that ended in the last 24 hours ran.",
        labels=["kind", "quantile"],
    )
    for kind, seconds in sorted(by_kind.items()):
        seconds.sort()
        for quantile in QUANTILES:
            at = min(int(quantile * len(seconds)), len(seconds) - 1)
            family.add_metric([kind, f"{quantile:g}"], seconds[at])
    yield family


def _calls() -> Iterator[Metric]:
    rows = db.session.execute(
        select(Report.kind, func.sum(Report.calls_made), func.sum(Report.calls_saved)).group_by(
            Report.kind
        )
    )
    family = GaugeMetricFamily(
        "report_partner_calls",
        "Calls of the kept reports: made, and saved by stored values.",
        labels=["kind", "outcome"],
    )
    for kind, made, saved in rows:
        family.add_metric([kind, "made"], int(made or 0))
        family.add_metric([kind, "saved"], int(saved or 0))
    yield family


def _months() -> Iterator[Metric]:
    rows = db.session.execute(
        select(StoredMonth.kind, func.count())
        .where(StoredMonth.expires_at > utcnow())
        .group_by(StoredMonth.kind)
    )
    family = GaugeMetricFamily("stored_months", "Fresh stored values.", labels=["kind"])
    for kind, count in rows:
        family.add_metric([kind], count)
    yield family


def _from_redis() -> Iterator[Metric]:
    client = quick_redis()
    try:
        name = current_app.config["QUEUE"]
        alive = len(live_workers(client, name))
        queue = Queue(name, connection=client, serializer=JSONSerializer)
        jobs = queue.count
        failed = queue.failed_job_registry.get_job_count(cleanup=False)
        counted = current_app.extensions["counters"].read(client)
    except RedisError:
        yield _gauge("redis_up", "1 while Redis answers.", 0)
        return
    yield _gauge("redis_up", "1 while Redis answers.", 1)
    yield _gauge("report_workers_live", "Workers alive.", alive)
    yield _gauge("report_queue_jobs", "Jobs in the queue in Redis.", jobs)
    yield _gauge("report_queue_jobs_failed", "Failed jobs RQ still remembers.", failed)
    yield from _tallies(counted)


def _tallies(counted: dict[tuple[str, ...], int]) -> Iterator[Metric]:
    """Yield what workers count; the partner's errors by its own code, else by what went wrong."""
    errors = CounterMetricFamily(
        "partner_errors", "Failed tries of calls to the partner.", labels=["code"]
    )
    months = CounterMetricFamily(
        "report_months", "Months used from the store, and counted anew.", labels=["kind", "source"]
    )
    busy = CounterMetricFamily(
        "partner_busy_ms",
        "Milliseconds that searches were under way; its rate / 1000 is how many are in flight.",
    )
    families = {"partner_errors": errors, "partner_busy_ms": busy, "months": months}
    for (name, *labels), value in sorted(counted.items()):
        if name in families:
            families[name].add_metric(labels, value)
    yield from families.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
