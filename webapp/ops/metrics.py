"""Metrics for Prometheus, the same whichever web process is asked; all begin with `reports_`.

What happens is counted where it happens (`webapp.counters`) and added up in Redis; what is, is
looked up by an index at each scrape. No scrape reads a table from one end to the other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator

from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from webapp.counters import BUCKETS, Key, counters
from webapp.extensions import db, quick_redis, this_app
from webapp.jobs import ACTIVE, Job
from webapp.ops import health, processes
from webapp.ops.workers import live_workers
from webapp.version import VERSION

PREFIX = "reports_"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# What is counted under a name: what it tells, and its labels.
COUNTED = {
    "http_requests": ("Requests answered.", ("method", "route", "status")),
    "jobs_ended": ("Jobs that ended: reports, loads, deliveries and more.", ("task", "status")),
    "workers_lost": ("Jobs whose worker was lost.", ("task",)),
    "partner_calls": ("Calls to the partner: made, and saved.", ("kind", "outcome")),
    "partner_errors": ("Failed tries of calls to the partner.", ("code",)),
    "partner_busy_seconds": ("How long searches were under way: its rate is in flight.", ()),
    "months": ("Stored months that were used, and months that were counted.", ("kind", "source")),
}
TIMED = {
    "http_request_duration_seconds": ("Time to an answer's first byte.", ("route",)),
    "job_duration_seconds": ("How long jobs ran that ended.", ("task",)),
}
PROCESS = "Of each process of the program; from the system."


def init_app(app: Flask) -> None:
    """Count each answer, by its route and not by its path."""
    app.after_request(_count_answer)


def _count_answer(response: Response) -> Response:
    route, method = str(request.url_rule or "unknown"), request.method
    method = method if method in METHODS else "OTHER"
    count = counters()
    # Redis is told later, by another thread: no answer waits for it.
    count.add("http_requests", method, route, str(response.status_code), is_urgent=False)
    seconds = time.monotonic() - g.get("began", time.monotonic())
    count.observe("http_request_duration_seconds", route, seconds=seconds, is_urgent=False)
    return response


def render() -> bytes:
    """Return all metrics as text; a part that is away is 0 in `*_up` and its numbers are absent."""
    registry = CollectorRegistry()
    registry.register(_Scrape())
    return generate_latest(registry)


class _Scrape:
    """Collects once, for one answer."""

    def collect(self) -> Iterator[Metric]:
        about = GaugeMetricFamily(f"{PREFIX}build_info", "The version.", labels=["version"])
        about.add_metric([VERSION], 1)
        yield about
        yield from _from_database()
        yield from _from_redis()


def _from_database() -> Iterator[Metric]:
    try:
        found = list(_active_jobs())
    except SQLAlchemyError:
        db.session.rollback()
        yield _gauge("database_up", "1 while the database answers.", 0)
        return
    yield _gauge("database_up", "1 while the database answers.", 1)
    yield _gauge("janitor_up", "1 while a janitor works.", int(health.janitor().ok))
    yield from found


def _active_jobs() -> Iterator[Metric]:
    rows = db.session.execute(
        select(Job.task, Job.status, func.count())
        .where(Job.status.in_(ACTIVE))
        .group_by(Job.task, Job.status)
    )
    counts = {(task, status): 0 for task in current_app.extensions["tasks"] for status in ACTIVE}
    counts |= {(task, status): count for task, status, count in rows}
    family = GaugeMetricFamily(f"{PREFIX}jobs", "Jobs under way.", labels=["task", "status"])
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    yield family
    waiting = health.queue()
    oldest_s = waiting["oldest_s"] if waiting else 0
    yield _gauge("queue_oldest_seconds", "How long the oldest queued report has waited.", oldest_s)


def _from_redis() -> Iterator[Metric]:
    app = this_app()
    client = quick_redis()
    try:
        name = app.config["QUEUE"]
        alive = len(live_workers(client, name))
        length = Queue(name, connection=client, serializer=JSONSerializer).count
        counters().flush()
        processes.tell(app, "web")
        told = processes.told(app)
        counted = counters().read(client)
    except RedisError:
        yield _gauge("redis_up", "1 while Redis answers.", 0)
        return
    yield _gauge("redis_up", "1 while Redis answers.", 1)
    yield _gauge("workers", "Workers alive.", alive)
    yield _gauge("queue_jobs", "Jobs in the queue in Redis.", length)
    streams = sum(figures.pop("streams") for figures in told.values())
    yield _gauge("streams_open", "Event streams open in all web processes.", streams)
    yield from _of_processes(told)
    yield from _counted(counted)


def _of_processes(told: dict[tuple[str, str], dict[str, float]]) -> Iterator[Metric]:
    labels = ("program", "process")
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for names, figures in sorted(told.items()):
        for name, value in figures.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = families.setdefault(name, kind(f"{PREFIX}{name}", PROCESS, labels=labels))
            family.add_metric(names, value)
    yield from families.values()


def _counted(counted: dict[Key, int]) -> Iterator[Metric]:
    """Yield what was counted: plain counters, and durations by their buckets."""
    sums = {
        name: CounterMetricFamily(f"{PREFIX}{name}", text, labels=labels)
        for name, (text, labels) in COUNTED.items()
    }
    buckets: defaultdict[Key, dict[str, int]] = defaultdict(dict)
    for (name, *labels), value in sorted(counted.items()):
        if name in TIMED:
            buckets[name, *labels[:-1]][labels[-1]] = value
        elif name in sums:
            sums[name].add_metric(labels, value)
        elif name == "partner_busy_ms":
            sums["partner_busy_seconds"].add_metric(labels, value / 1000)
    yield from sums.values()
    times = {
        name: HistogramMetricFamily(f"{PREFIX}{name}", text, labels=labels)
        for name, (text, labels) in TIMED.items()
    }
    for (name, *labels), found in buckets.items():
        total, upto = 0, []
        for bound in [f"{bound:g}" for bound in BUCKETS[name]] + ["+Inf"]:
            total += found.get(bound, 0)
            upto.append((bound, total))
        times[name].add_metric(labels, upto, found.get("ms", 0) / 1000)
    yield from times.values()


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)
