"""The page of a report in the making: live, by polling, and without any script."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from tally import HOSTILE, Tally

from tests.conftest import add_people, find_scope
from webapp import jobs
from webapp.engine import service
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.jobs import Job, StatusLine
from webapp.lib.moments import utcnow

HTMX = {"HX-Request": "true"}


def events(text: str) -> list[dict[str, str]]:
    """Return a stream's events as a browser reads them: id, event, data."""
    found = []
    for block in text.split("\n\n"):
        event: dict[str, str] = {}
        for line in block.splitlines():
            name, _, value = line.partition(":")
            if name:
                value = value.removeprefix(" ")
                event[name] = f"{event[name]}\n{value}" if name in event else value
        if event:
            found.append(event)
    return found


def numbers(text: str) -> list[int]:
    return [int(seq) for seq in re.findall(r'data-seq="(\d+)"', text)]


def test_a_queued_report_shows_its_loader(start: Callable[..., str], owner: FlaskClient) -> None:
    report_id = start()
    page = owner.get(f"/reports/{report_id}").text
    assert 'class="badge is-queued"' in page
    assert '<progress class="bar" aria-label="Progress">' in page
    assert "Number 1 in your company’s queue" in page or "Next to start" in page
    assert "If you cancel: The results so far are not kept." in page
    assert "<title>waiting · Tally: apples short · " in page
    assert f'action="/reports/{report_id}/cancel"' in page
    assert f'hx-sse:connect="/reports/{report_id}/events?after=0"' in page
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
    assert f'<a href="/reports/{report_id}">Refresh now</a>' in page


def test_calls_are_counted_where_a_partner_is_called(
    start: Callable[..., str], owner: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_id = start()
    assert "Calls made" not in owner.get(f"/reports/{report_id}").text
    monkeypatch.setattr(Tally, "asks_partner", True)
    assert "Calls made" in owner.get(f"/reports/{report_id}").text


def test_htmx_gets_the_loader_without_the_page(
    start: Callable[..., str], owner: FlaskClient
) -> None:
    partial = owner.get(f"/reports/{start()}", headers=HTMX).text
    assert partial.lstrip().startswith('<section class="report is-queued" id="report"')


def test_a_finished_report_is_the_same_partial_with_its_result(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    partial = owner.get(f"/reports/{run()}", headers=HTMX).text
    assert partial.lstrip().startswith('<section class="report is-done" id="report"')
    assert "hx-sse:connect" not in partial
    assert 'id="grid-things"' in partial


def test_the_stream_sends_every_line_as_html_and_then_the_end(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = run(things=3)
    answer = owner.get(f"/reports/{report_id}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "private, no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.text.startswith(": ")
    found = events(answer.text)
    assert numbers(answer.text) == [1, 2, 3, 4]
    assert [event["id"] for event in found if "loader-line" in event.get("data", "")] == list(
        "1234"
    )
    assert found[-1] == {"event": "end", "id": "4", "data": "done"}
    assert any('<hx-partial hx-target="#meters"' in event.get("data", "") for event in found)
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_a_reader_who_comes_back_gets_the_rest_only(
    run: Callable[..., str], owner: FlaskClient
) -> None:
    here = f"/reports/{run(things=3)}/events"
    assert numbers(owner.get(here, headers={"Last-Event-ID": "2"}).text) == [3, 4]
    assert numbers(owner.get(f"{here}?after=3").text) == [4]
    again = owner.get(f"{here}?after=1", headers={"Last-Event-ID": "3"})
    assert numbers(again.text) == [4]
    for odd in ("x", "-1", "9" * 30, "²"):
        assert numbers(owner.get(here, headers={"Last-Event-ID": odd}.items()).text) == [1, 2, 3, 4]


def test_the_stream_follows_a_report_that_runs(
    app: Flask, start: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = start(things=5, pause_ms=80)

    def work() -> None:
        with app.app_context():
            jobs.run_queued(report_id)

    worker = threading.Thread(target=work)
    worker.start()
    text = owner.get(f"/reports/{report_id}/events").text
    worker.join()
    assert numbers(text) == [1, 2, 3, 4, 5, 6]
    assert events(text)[-1]["data"] == "done"


def test_asking_for_the_head_of_a_stream_leaves_no_listener(
    app: Flask, start: Callable[..., str], owner: FlaskClient
) -> None:
    with owner.head(f"/reports/{start()}/events") as answer:
        assert answer.status_code == 200
    assert len(app.extensions["line_hub"]) == 0


def test_with_streaming_off_the_loader_polls(make_app: Callable[..., Flask]) -> None:
    app = make_app(report_kinds=[Tally()], STREAMING=False)
    add_people(app)
    client = app.test_client()
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
    assert token
    form = {
        "csrf_token": token[1],
        "email": "owner@example.com",
        "password": "correct horse battery",
    }
    assert client.post("/login", data=form).status_code == 303
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/account").text)
    assert token
    made = client.post("/reports/new/tally", data={"csrf_token": token[1], "topic": "plums"})
    page = client.get(made.location).text
    assert 'hx-trigger="every 2s"' in page
    assert "hx-sse:connect" not in page
    assert client.get(f"{made.location}/events").status_code == 503
    with app.app_context():
        jobs.run_queued(made.location.rsplit("/", 1)[1])
    partial = client.get(made.location, headers=HTMX).text
    assert "hx-trigger" not in partial.split('class="report-head"')[0]
    assert 'id="grid-things"' in partial


def test_too_many_streams_are_refused_with_a_time_to_come_back(
    make_app: Callable[..., Flask], start: Callable[..., str], app: Flask, owner: FlaskClient
) -> None:
    report_id = start()
    app.config["WEB_THREADS"] = 9
    with app.app_context():
        other = jobs.Listening(report_id)
    answer = owner.get(f"/reports/{report_id}/events", headers=HTMX)
    other.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_a_report_nobody_takes_says_so(
    app: Flask, start: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = start()
    assert "No worker is running" not in owner.get(f"/reports/{report_id}").text
    with app.app_context():
        report = db.session.get(Report, report_id)
        assert report
        report.queued_at -= timedelta(minutes=1)
        db.session.commit()
    assert "No worker is running" in owner.get(f"/reports/{report_id}").text


def test_a_report_that_waits_says_its_place(app: Flask, owner: FlaskClient) -> None:
    with app.app_context():
        scope = find_scope(app, "owner")
        ids = [
            service.start_report(scope, "tally", {"topic": "apples"}, enqueue=False).report.id
            for _ in range(3)
        ]
        db.session.execute(update(Job).values(handed_at=None))
        db.session.commit()
    assert "Number 3 in your company’s queue" in owner.get(f"/reports/{ids[2]}").text


def test_the_loader_says_how_far_it_is_and_how_long_it_takes(
    app: Flask, start: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = start()
    with app.app_context():
        report = db.session.get_one(Report, report_id)
        report.status, report.started_at = "running", utcnow() - timedelta(seconds=60)
        report.permille, report.stage = 250, "Counting; 4.0 calls a second"
        db.session.commit()
    page = owner.get(f"/reports/{report_id}").text
    assert '<progress class="bar" max="1000" value="250" aria-label="Progress">25 %<' in page
    assert "<strong>25 %</strong> Counting; 4.0 calls a second" in page
    assert re.search(r"<dt>Left</dt><dd>about (2 min 59|3 min \d+) s", page)
    assert "<title>25 % · Tally: apples short · " in page


def test_a_failed_report_says_why_and_offers_another_try(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    report_id = run(fails=True)
    page = owner.get(f"/reports/{report_id}").text
    assert "<progress" not in page
    assert "The partner went away" in page
    assert f'action="/reports/{report_id}/retry"' in page
    assert 'type="password"' in page
    answer = post(owner, f"/reports/{report_id}/retry", secret="once more")
    assert answer.status_code == 303
    again = owner.get(answer.location).text
    assert 'class="badge is-queued"' in again
    assert "once more" not in again


def test_a_retry_without_its_secret_comes_back_with_a_sentence(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    report_id = run(topic="locked", fails=True, secret="first time")
    answer = post(owner, f"/reports/{report_id}/retry")
    assert answer.status_code == 422
    assert "This topic needs its secret." in answer.text
    assert '<details class="ask" open>' in answer.text


def test_a_cancelled_retry_shows_what_it_met_and_the_result_of_before(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    path = f"/reports/{run(holes=True)}"
    assert post(owner, f"{path}/retry").status_code == 303
    assert post(owner, f"{path}/cancel").status_code == 303
    page = owner.get(path).text
    assert "Trying again was cancelled. The result from before is kept." in page
    assert 'id="grid-things"' in page
    assert page.count('id="retry"') == 1
    assert owner.get(f"{path}.csv").status_code == 200


def test_a_retry_of_a_finished_report_is_a_conflict(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    assert post(owner, f"/reports/{run()}/retry").status_code == 409


def test_cancelling_and_deleting_work_without_script(
    start: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    report_id = start()
    here = f"/reports/{report_id}"
    assert post(owner, f"{here}/delete").status_code == 409
    assert post(owner, f"{here}/cancel").status_code == 303
    page = owner.get(here).text
    assert 'class="badge is-cancelled"' in page
    assert "Cancelled on request." in page
    assert post(owner, f"{here}/cancel").status_code == 409
    answer = post(owner, f"{here}/delete")
    assert answer.status_code == 303
    assert "are deleted" in owner.get(answer.location).text
    assert owner.get(here).status_code == 404


def test_deeds_need_the_form_token(start: Callable[..., str], owner: FlaskClient) -> None:
    report_id = start()
    for deed in ("cancel", "delete", "retry"):
        assert owner.post(f"/reports/{report_id}/{deed}").status_code == 400


def test_many_lines_are_shown_from_the_end_and_all_on_request(
    app: Flask, run: Callable[..., str], owner: FlaskClient
) -> None:
    report_id = run(fails=True)
    with app.app_context():
        last = db.session.query(StatusLine).order_by(StatusLine.seq.desc()).first()
        assert last
        for seq in range(last.seq + 1, 301):
            line = {"seq": seq, "at": last.at, "level": "info", "text": f"line {seq}"}
            db.session.add(StatusLine(job_id=report_id, done=1, total=1, **line))
        db.session.commit()
    page = owner.get(f"/reports/{report_id}").text
    assert numbers(page) == list(range(101, 301))
    assert "Show 100 earlier lines" in page
    assert len(numbers(owner.get(f"/reports/{report_id}?lines=all").text)) == 300
