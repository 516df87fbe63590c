"""Events dated ahead: taken at once, counted when their time has come, in whatever order."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kinds.project_storage.storage_helpers import Storage, project_key, rows_of
from webapp.engine import jobs
from webapp.kinds.project_storage import counting, tasks
from webapp.kinds.project_storage.models import AheadEvent, Counter, StorageMonth
from webapp.lib.moments import utcnow
from webapp.lib.months import current_month, month_end, month_text, next_month


class Clock:
    """The time counting believes it is."""

    def __init__(self) -> None:
        # After whatever the test sends, which is stamped with the real time.
        self.now = utcnow() + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(counting, "utcnow", clock)
    return clock


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def test_an_event_ahead_counts_when_its_time_has_come(
    app: Flask, owner: Storage, count: Callable[[], int], clock: Clock
) -> None:
    at = clock.now + timedelta(hours=23)
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    owner.send([owner.event("upload", "v2", text(at), bytes=10**12)])
    assert count() == 2
    assert owner.held() == (1, 100, 0, 0)
    assert count() == 0
    clock.now = at - timedelta(microseconds=1)
    assert count() == 0
    clock.now = at
    assert count() == 1
    assert owner.held() == (2, 100 + 10**12, 0, 0)
    with app.app_context():
        assert rows_of(AheadEvent, project_key(owner.project)) == []


def test_the_janitor_counts_what_has_come_due(app: Flask, owner: Storage, clock: Clock) -> None:
    owner.send([owner.event("upload", "v1", text(clock.now + timedelta(hours=1)))])
    with app.app_context():
        assert tasks.count_overdue(longer_than=timedelta(0)) == 1
        assert tasks.count_overdue() == 0
        clock.now += timedelta(hours=1)
        assert tasks.count_overdue() == 1
    assert owner.held() == (1, 100, 0, 0)


def test_the_byte_months_of_this_month_are_those_up_to_now(
    app: Flask, owner: Storage, clock: Clock
) -> None:
    month = current_month(clock.now)
    start = month_end(next_month(month, -1))
    owner.send([owner.event("upload", "old", text(start - timedelta(days=20)), bytes=10**9)])
    ahead = text(clock.now + timedelta(hours=23))
    owner.send([owner.event("upload", "new", ahead, bytes=10**12)])
    body = {
        "kind": "project-storage",
        "params": {"start": month_text(month), "end": month_text(month)},
    }
    report_id = owner.api.post("/reports", body).json["id"]
    before = utcnow()
    with app.app_context():
        jobs.run_queued(report_id)
    result = owner.api.get(f"/reports/{report_id}/result").json
    [row] = result["months"]
    length = month_end(month) - start
    assert result["complete"] is True
    assert row["active_bytes"] == 10**9
    assert row["active_byte_months"] >= 10**9 * ((before - start) / length) - 1
    assert row["active_byte_months"] <= 10**9 * ((utcnow() - start) / length) + 1


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["upload", "upload", "trash", "restore", "purge"]),
            st.sampled_from(["v1", "v2"]),
            st.integers(-30, 23),
        ),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_however_time_passes_the_rows_are_those_of_events_that_have_happened(
    app: Flask,
    owner: Storage,
    count: Callable[[], int],
    clock: Clock,
    facts: list[Any],
    chance: random.Random,
) -> None:
    clock.now = datetime.now(UTC) + timedelta(minutes=1)
    began, project = clock.now, owner.make_project(f"P{chance.random()}")
    hours = timedelta(hours=1)
    events = [
        owner.event(kind, version, text(began + hour * hours)) for kind, version, hour in facts
    ]
    chance.shuffle(events)
    for first in range(0, len(events), 3):
        owner.send(events[first : first + 3], project)
        clock.now += chance.randint(0, 9) * hours
        count()
        with app.app_context():
            key = project_key(project)
            rows = [rows_of(table, key) for table in (Counter, StorageMonth)]
            # In another project, from what has happened by now alone, all at once.
            plain = owner.make_project("plain")
            past = [
                one for one in events[: first + 3] if datetime.fromisoformat(one["at"]) <= clock.now
            ]
            owner.send(past, plain)
            counting.count_project(project_key(plain))
            assert rows == [rows_of(table, project_key(plain)) for table in (Counter, StorageMonth)]
            assert counting.recount(key, repair=False) == []
