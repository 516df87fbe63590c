"""The report kind: rows, downloads, stored months and what expires them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from tests.conftest import Api, find_scope
from tests.kinds.session_activity.session_helpers import Sender, ping_body
from webapp import jobs
from webapp.engine import retention, service
from webapp.engine.models import Report, StoredMonth
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.session_activity import SessionActivity, params
from webapp.kinds.session_activity.models import Login, Segment, Session
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.months import SETTLING

AUGUST_TO_SEPTEMBER = {"start": "2023-08", "end": "2023-09"}


@pytest.fixture
def worked(sender: Sender) -> Sender:
    """Return the program after two logins worked over the end of August 2023."""
    sender.begin("s1", "2023-08-31T23:00:00Z", next_ping_sec=7200)
    sender.begin("s2", "2023-08-31T23:30:00Z", comp_name="blue0002", next_ping_sec=3600)
    sender.begin("s3", "2023-09-02T08:00:00Z", login="bela", next_ping_sec=1800)
    return sender


def stored(app: Flask) -> list[tuple[str, str, str]]:
    with app.app_context():
        found = db.session.scalars(select(StoredMonth))
        return sorted((one.subject, one.item, f"{one.month:%Y-%m}") for one in found)


def test_hours_of_all_logins_by_month(worked: Sender, report: Callable[..., Any]) -> None:
    result = report(**AUGUST_TO_SEPTEMBER)
    assert result["hours"] == [
        {"login": "anna", "month": "2023-08", "hours": 1.0, "machine_hours": 1.5},
        {"login": "anna", "month": "2023-09", "hours": 1.0, "machine_hours": 1.5},
        {"login": "bela", "month": "2023-09", "hours": 0.5, "machine_hours": 0.5},
    ]
    assert result["periods"] == [
        {"month": "2023-08", "hours": 1.0, "machine_hours": 1.5, "logins": 1},
        {"month": "2023-09", "hours": 1.5, "machine_hours": 2.0, "logins": 2},
    ]
    assert (result["total_hours"], result["total_machine_hours"]) == (2.5, 3.5)
    assert result["timezone"] == "UTC"


def test_hours_of_one_login_by_date(worked: Sender, report: Callable[..., Any]) -> None:
    result = report(login="anna", group_by="date", from_date="2023-08-31", to_date="2023-09-02")
    assert [(row["date"], row["hours"]) for row in result["hours"]] == [
        ("2023-08-31", 1.0),
        ("2023-09-01", 1.0),
    ]
    assert [row["hours"] for row in result["periods"]] == [1.0, 1.0, 0.0]
    assert [row["login"] for row in result["logins"]] == ["anna"]


def test_a_range_of_dates_cuts_the_months_it_begins_and_ends_in(
    worked: Sender, report: Callable[..., Any]
) -> None:
    result = report(from_date="2023-09-01", to_date="2023-09-01", group_by="month")
    assert [(row["login"], row["hours"]) for row in result["hours"]] == [("anna", 1.0)]


def test_an_event_has_hours_of_its_own(worked: Sender, report: Callable[..., Any]) -> None:
    worked.ping("s3", "2023-09-02T08:10:00Z", login="bela", session_type="exam")
    result = report(session_type="exam", **AUGUST_TO_SEPTEMBER)
    assert [(row["login"], row["hours"]) for row in result["hours"]] == [("bela", 0.016667)]


def test_an_event_named_like_the_whole_time_has_months_of_its_own(
    worked: Sender, report: Callable[..., Any]
) -> None:
    worked.ping("s3", "2023-09-02T08:10:00Z", login="bela", session_type="session time")
    for _ in range(2):
        event = report(session_type="session time", **AUGUST_TO_SEPTEMBER)
        assert event["total_hours"] == 0.02
        assert report(**AUGUST_TO_SEPTEMBER)["total_hours"] == 2.5


def test_the_month_meant_is_that_of_the_zone(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(report_kinds=(SessionActivity(),), SESSION_TIMEZONE="Europe/Berlin")
    monkeypatch.setattr(params, "utcnow", lambda: datetime(2025, 3, 31, 23, tzinfo=UTC))
    with app.app_context():
        found = params.SessionActivityParams.model_validate({})
    assert (found.first_day, found.last_day) == (date(2025, 4, 1), date(2025, 4, 30))


def test_csv_and_json_agree(worked: Sender, report: Callable[..., Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(report("csv", **AUGUST_TO_SEPTEMBER).decode())))
    assert list(rows[0]) == ["login", "month", "hours", "machine_hours"]
    expected = report(**AUGUST_TO_SEPTEMBER)["hours"]
    assert [(row["login"], row["month"], float(row["hours"])) for row in rows] == [
        (row["login"], row["month"], row["hours"]) for row in expected
    ]
    assert report("xlsx", **AUGUST_TO_SEPTEMBER).startswith(b"PK")


def test_closed_months_are_stored_and_give_the_same_rows_again(
    app: Flask, worked: Sender, report: Callable[..., Any]
) -> None:
    first = report(**AUGUST_TO_SEPTEMBER)
    assert stored(app) == [
        ("session time (UTC)", login, month)
        for login in ("anna", "bela")
        for month in ("2023-08", "2023-09")
    ]
    age_pings(app)
    again = report(**AUGUST_TO_SEPTEMBER)
    assert again["hours"] == first["hours"]
    with app.app_context():
        saved = db.session.scalars(select(Report.calls_saved)).all()
    assert sorted(saved) == [0, 4]


def age_pings(app: Flask) -> None:
    """Let the late pings have come long ago; what was counted a moment later is not believed."""
    with app.app_context():
        for login in db.session.scalars(select(Login)):
            assert login.late_at is not None
            login.late_at -= timedelta(hours=1)
        db.session.commit()


@pytest.mark.parametrize(("after", "saved"), [(0, 0), (1, 1)])
def test_a_month_counted_within_the_settling_time_of_a_late_ping_is_counted_again(
    app: Flask, sender: Sender, report: Callable[..., Any], after: int, saved: int
) -> None:
    sender.begin("s1", "2023-08-31T08:00:00Z")
    report(login="anna", start="2023-08", end="2023-08")
    with app.app_context():
        login = db.session.scalars(select(Login).where(Login.name == "anna")).one()
        assert login.late_at is not None
        counted_at = login.late_at + SETTLING + timedelta(microseconds=after)
        db.session.execute(update(StoredMonth).values(counted_at=counted_at))
        db.session.commit()
    report(login="anna", start="2023-08", end="2023-08")
    with app.app_context():
        assert sorted(db.session.scalars(select(Report.calls_saved))) == [0, saved]


def test_a_late_ping_expires_the_months_it_changes(
    app: Flask, worked: Sender, report: Callable[..., Any]
) -> None:
    report(**AUGUST_TO_SEPTEMBER)
    age_pings(app)
    worked.ping("s1", "2023-09-01T01:00:00Z", next_ping_sec=3600)
    assert stored(app) == [
        ("session time (UTC)", "anna", "2023-08"),
        ("session time (UTC)", "bela", "2023-08"),
        ("session time (UTC)", "bela", "2023-09"),
    ]
    hours = report(login="anna", **AUGUST_TO_SEPTEMBER)["hours"]
    assert [row["hours"] for row in hours] == [1.0, 2.0]


def test_a_repeated_ping_expires_nothing(
    app: Flask, worked: Sender, report: Callable[..., Any]
) -> None:
    report(**AUGUST_TO_SEPTEMBER)
    before = stored(app)
    again = [ping_body("s1", "2023-08-31T23:00:00Z", next_ping_sec=7200)] * 2
    assert worked.post("/activity", again).status_code == 201
    assert stored(app) == before


def test_the_current_month_is_never_stored(
    app: Flask, sender: Sender, report: Callable[..., Any]
) -> None:
    sender.begin("s1", None)
    assert report(login="anna")["total_hours"] > 0
    assert stored(app) == []


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"login": "nobody"}, "login"),
        ({"start": "2023-09", "end": "2023-08"}, "end"),
        ({"range": "dates"}, "from_date"),
        ({"from_date": "2023-09-01"}, "to_date"),
        ({"start": "2023-09", "from_date": "2023-09-01", "to_date": "2023-09-02"}, "from_date"),
        ({"range": "dates", "end": "2023-09", "from_date": "2023-09-01"}, "end"),
        ({"range": "months", "to_date": "2023-09-01"}, "to_date"),
        ({"from_date": "2023-09-02", "to_date": "2023-09-01"}, "to_date"),
        ({"start": "1990-01", "end": "2023-08"}, "end"),
        ({"group_by": "year"}, "group_by"),
        ({"start": "September"}, "start"),
    ],
)
def test_a_bad_parameter_is_a_422_that_names_it(
    sender: Sender, api_for: Callable[[str], Api], params: dict[str, str], field: str
) -> None:
    answer = api_for("owner").post("/reports", {"kind": "session-activity", "params": params})
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]


def test_a_company_reports_its_own_logins_only(
    app: Flask, worked: Sender, api_for: Callable[[str], Api]
) -> None:
    scope = find_scope(app, "stranger")
    with app.app_context():
        made = service.start_report(
            scope, "session-activity", AUGUST_TO_SEPTEMBER, enqueue=False
        ).report.id
        jobs.run_queued(made)
        db.session.remove()
    assert api_for("stranger").get(f"/reports/{made}/result?format=json").json["hours"] == []
    assert api_for("owner").get(f"/reports/{made}").status_code == 404


def test_forgotten_months_are_gone_with_their_sessions_and_are_not_counted_as_nothing(
    app: Flask, sender: Sender
) -> None:
    recent = utcnow() - timedelta(days=40)
    sender.begin("old", "2024-03-01T10:00:00Z")
    sender.begin("new", rfc3339(recent))
    with app.app_context():
        app.config["SESSIONS_KEPT_MONTHS"] = 2
        retention.forget(service.kinds()["session-activity"], lambda: None)
        assert db.session.scalars(select(Session.id)).all() == ["new"]
        assert db.session.scalar(select(func.count()).select_from(Segment)) == 1
        # A larger number brings nothing back.
        app.config["SESSIONS_KEPT_MONTHS"] = 120
        retention.forget(service.kinds()["session-activity"], lambda: None)
    answer = sender.get("/activity", login="anna", from_date="2024-03-01", to_date="2024-03-31")
    assert answer.status_code == 400
    assert "not kept any more" in answer.text
    with app.app_context(), pytest.raises(InvalidParams, match="not kept"):
        service.start_report(find_scope(app, "owner"), "session-activity", {"start": "2024-03"})


@pytest.mark.parametrize("by", ["login", "computer", "event"])
def test_the_calendars_last_month_can_be_asked_for(worked: Sender, report: Any, by: str) -> None:
    made = report(start="9999-12", end="9999-12", by=by)
    assert (made["to_date"], made["total_hours"]) == ("9999-12-31", 0.0)
