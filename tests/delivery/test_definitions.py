"""Saved reports by the API: made, found, changed, run; who may see and do what."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from icalendar import Calendar
from sqlalchemy import delete, select, update

from tests.api.api_helpers import assert_problem
from tests.conftest import Api, form_token
from tests.delivery.conftest import Clock, Mailbox, saved
from webapp.delivery.models import Definition, DefinitionRun
from webapp.delivery.scheduler import drop_old_runs
from webapp.delivery.schedules import relative_label, relative_month, relative_word
from webapp.engine.models import ResultRow
from webapp.extensions import db
from webapp.jobs import Job
from webapp.lib.moments import utcnow
from webapp.lib.months import month_text

MEMBERS = {
    "id", "name", "kind", "params", "schedule", "deliver", "hold_incomplete", "paused",
    "last_report", "next_run_at",
}  # fmt: skip


@pytest.fixture
def owner_browser(client_for: Callable[[str], FlaskClient]) -> FlaskClient:
    return client_for("owner")


def patch(api: Api, path: str, body: Any) -> Any:
    return api.client.patch(f"/api/v1{path}", json=body, auth=api.auth)


def test_what_was_saved_is_found_again(api: Api) -> None:
    made = saved(api, schedule={"every": "month", "grace_days": 1, "at": "07:00"})
    assert set(made) >= MEMBERS
    assert made["next_run_at"].endswith("Z")
    assert made["last_report"] is None
    again = api.get(f"/definitions/{made['id']}").json
    assert again == {**made, "webhook_secret": None}
    assert [one["id"] for one in api.get("/definitions").json] == [made["id"]]


def test_the_newest_comes_first_a_page_at_a_time(api: Api) -> None:
    made = [saved(api, name=f"number {number}")["id"] for number in range(5)]
    seen, path = [], "/definitions?limit=2"
    while path:
        answer = api.get(path)
        seen += [one["id"] for one in answer.json]
        link = answer.headers.get("Link", "")
        path = link.partition(">")[0].removeprefix("</api/v1") if link else ""
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"kind": "nothing"}, "kind"),
        ({"params": {}}, "topic"),
        ({"params": {"topic": "a", "secret": "s3cret"}}, "secret"),
        ({"params": {"topic": "a", "start": "-x"}}, "start"),
        ({"schedule": {"every": "month", "grace_days": 40}}, "schedule.grace_days"),
        ({"schedule": {"cron": "never"}}, "schedule.cron"),
        ({"deliver": [{"by": "pigeon"}]}, "deliver.0"),
        ({"deliver": [{"by": "email", "to": ["nobody"]}]}, "deliver.0.email.to.0"),
        ({"deliver": [{"by": "email", "to": []}]}, "deliver.0.email.to"),
        ({"deliver": [{"by": "folder", "url": "http://x"}]}, "deliver.0.folder.url"),
        ({"deliver": [{"by": "webhook", "url": "ftp://x"}]}, "deliver.0.webhook.url"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_saved_is_told_by_field(api: Api, wrong: Any, field: str) -> None:
    body = {"name": "Apples", "kind": "tally", "params": {"topic": "apples"}} | wrong
    assert_problem(api.post("/definitions", body), 422, field)
    assert api.get("/definitions").json == []


def test_what_is_sent_changes_and_the_rest_stays(api: Api) -> None:
    made = saved(api, schedule={"every": "day"})
    changed = patch(api, f"/definitions/{made['id']}", {"name": "Pears", "paused": True}).json
    assert (changed["name"], changed["paused"], changed["next_run_at"]) == ("Pears", True, None)
    assert changed["params"] == made["params"]
    resumed = patch(api, f"/definitions/{made['id']}", {"paused": False}).json
    assert resumed["next_run_at"] == made["next_run_at"]
    assert patch(api, f"/definitions/{made['id']}", {"schedule": None}).json["next_run_at"] is None
    assert_problem(patch(api, f"/definitions/{made['id']}", {"name": None}), 422, "name")
    assert_problem(patch(api, f"/definitions/{made['id']}", {"kind": "tally"}), 422, "kind")


def test_deleting_keeps_the_reports(api: Api, clock: Clock) -> None:
    made = saved(api)
    report = api.post(f"/definitions/{made['id']}/run").json["id"]
    clock.work()
    assert api.delete(f"/definitions/{made['id']}").status_code == 204
    assert api.get(f"/definitions/{made['id']}").status_code == 404
    assert api.get(f"/reports/{report}").json["status"] == "done"


def test_a_run_is_a_report_like_any_other(api: Api, clock: Clock) -> None:
    params = {"topic": "apples", "mode": "long", "start": "-2", "end": "last_closed"}
    made = saved(api, params=params)
    answer = api.post(f"/definitions/{made['id']}/run")
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/reports/{answer.json['id']}"
    assert answer.json["params"]["start"] < answer.json["params"]["end"]
    clock.work()
    assert api.get(f"/definitions/{made['id']}").json["last_report"] == answer.json["id"]
    (run,) = api.get(f"/definitions/{made['id']}/runs").json
    assert (run["report"], run["report_status"], run["period"]) == (answer.json["id"], "done", None)


def test_the_newest_result_has_an_address_of_its_own(api: Api, clock: Clock) -> None:
    made = saved(api)
    path = f"/definitions/{made['id']}/latest"
    assert api.get(path).status_code == 404
    api.post(f"/definitions/{made['id']}/run")
    clock.work()
    first = api.get(f"{path}?format=csv")
    assert first.status_code == 200
    assert first.text.startswith("number,name,")
    assert api.get(f"{path}.csv").data == first.data
    tag = {"If-None-Match": first.headers["ETag"]}
    assert api.get(f"{path}.csv", headers=tag).status_code == 304
    api.post(f"/definitions/{made['id']}/run")
    assert api.get(f"{path}.csv", headers=tag).status_code == 304  # it has no result yet
    clock.work()
    assert api.get(f"{path}.csv", headers=tag).status_code == 200


def test_two_results_side_by_side(api: Api, clock: Clock) -> None:
    made = saved(api, params={"topic": "apples", "things": 3})
    before = api.post(f"/definitions/{made['id']}/run").json["id"]
    clock.work()
    patch(
        api,
        f"/definitions/{made['id']}",
        {"params": {"topic": "apples", "things": 5, "holes": True}},
    )
    after = api.post(f"/definitions/{made['id']}/run").json["id"]
    clock.work()
    found = api.get(f"/definitions/{made['id']}/compare?from={before}&to={after}").json
    assert [row["number"] for row in found["came"]] == ["1000004", "1000005"]
    assert (found["went"], found["changed"]) == ([], [])
    back = api.get(f"/definitions/{made['id']}/compare?from={after}&to={before}").json
    assert [row["number"] for row in back["went"]] == ["1000004", "1000005"]
    other = api.post("/reports", {"kind": "tally", "params": {"topic": "pears"}}).json["id"]
    wrong = api.get(f"/definitions/{made['id']}/compare?from={other}&to={after}")
    assert_problem(wrong, 422, "from")


@pytest.mark.parametrize("who", ["stranger", "operator"])
def test_another_company_finds_nothing(
    api: Api, api_for: Callable[[str], Api], clock: Clock, who: str
) -> None:
    made = saved(api, deliver=[{"by": "email", "to": ["reader@acme.example"]}])
    other = api_for(who)
    assert other.get("/definitions").json == []
    for verb in ("", "/runs", "/latest", "/compare?from=a&to=b"):
        assert other.get(f"/definitions/{made['id']}{verb}").status_code == 404
    assert patch(other, f"/definitions/{made['id']}", {"name": "mine"}).status_code == 404
    assert other.delete(f"/definitions/{made['id']}").status_code == 404
    assert other.post(f"/definitions/{made['id']}/run").status_code == 404
    assert other.get(f"/deliveries?definition={made['id']}").status_code == 404


def test_a_viewer_looks_and_changes_nothing(api: Api, api_for: Callable[[str], Api]) -> None:
    made, viewer = saved(api), api_for("viewer")
    assert viewer.get(f"/definitions/{made['id']}").status_code == 200
    assert patch(viewer, f"/definitions/{made['id']}", {"name": "mine"}).status_code == 403
    assert viewer.delete(f"/definitions/{made['id']}").status_code == 403
    assert viewer.post(f"/definitions/{made['id']}/run").status_code == 403
    body = {"name": "Apples", "kind": "tally", "params": {"topic": "apples"}}
    assert viewer.post("/definitions", body).status_code == 403


def test_a_private_one_is_its_owners_alone(api: Api, api_for: Callable[[str], Api]) -> None:
    mine = saved(api_for("colleague"), private=True)
    assert api.get(f"/definitions/{mine['id']}").status_code == 404
    assert api.get("/definitions").json == []


def test_only_the_maker_and_admins_change_it(api: Api, api_for: Callable[[str], Api]) -> None:
    made, colleague = saved(api), api_for("colleague")
    assert patch(colleague, f"/definitions/{made['id']}", {"name": "mine"}).status_code == 403
    theirs = saved(colleague)
    assert patch(api, f"/definitions/{theirs['id']}", {"name": "ours"}).status_code == 200


def test_a_report_is_saved_and_run_by_page(
    client_for: Callable[[str], FlaskClient], api: Api, clock: Clock
) -> None:
    browser = client_for("owner")
    params = {"topic": "apples", "mode": "long", "start": "2025-01", "end": "2025-03"}
    report = api.post("/reports", {"kind": "tally", "params": params}).json["id"]
    clock.work()
    token = form_token(browser)
    form = {
        "csrf_token": token,
        "report": report,
        "name": "Every month",
        "relative.start": relative_word("2025-01", utcnow()),
        "relative.end": "last_closed",
        "every": "month",
        "grace_days": "1",
        "at": "07:00",
        "emails": "a@acme.example, b@acme.example",
        "attach": ["csv"],
    }
    assert browser.get(f"/saved/new?report={report}").status_code == 200
    refused = browser.post("/saved", data=form | {"emails": "nobody"})
    assert refused.status_code == 422
    assert "This is not an e-mail address." in refused.text
    assert "Every month" in refused.text
    address = browser.post("/saved", data=form).headers["Location"]
    page = browser.get(address).text
    assert "Every month" in page
    assert page.count("<time") >= 5
    assert browser.post(f"{address}/pause", data={"csrf_token": token}).status_code == 303
    assert "It is paused." in browser.get(address).text
    ran = browser.post(f"{address}/run", data={"csrf_token": token}).headers["Location"]
    assert browser.get(ran).status_code == 200
    assert "Every month" in browser.get("/saved").text
    browser.post(f"{address}/delete", data={"csrf_token": token})
    assert browser.get(address).status_code == 404
    assert clock.rows(Job) != []


def test_only_admins_name_folders_and_only_where_the_operator_lets_them(
    api: Api, api_for: Callable[[str], Api], app: Flask
) -> None:
    folder = [{"by": "folder", "url": "file:///srv/reports/acme"}]
    body = {"name": "x", "kind": "tally", "params": {"topic": "a"}, "deliver": folder}
    assert api_for("colleague").post("/definitions", body).status_code == 403
    assert api.post("/definitions", body).status_code == 201
    app.config["DELIVERY_FOLDERS"] = "s3://reports/ file:///srv/other"
    assert_problem(api.post("/definitions", body), 422, "deliver.0.folder.url")
    folder[0]["url"] = "file:///srv/other/../reports"
    assert_problem(api.post("/definitions", body), 422, "deliver.0.folder.url")
    folder[0]["url"] = "s3://reports/acme"
    assert api.post("/definitions", body).status_code == 201


def test_months_of_a_report_are_said_relative_to_now_and_back() -> None:
    now = datetime(2025, 3, 10, tzinfo=UTC)
    for month, word in (("2025-03", "current"), ("2025-02", "last_closed"), ("2024-03", "-11")):
        assert relative_word(month, now) == word
        assert month_text(relative_month(word, now) or now.date()) == month
    assert [relative_word(other, now) for other in ("2025-04", "x", 3, None)] == [None] * 4
    assert relative_label("-1") == "1 month before the last closed one"


def test_a_command_makes_it_as_its_owner_and_the_janitor_sends_it(
    api: Api, app: Flask, clock: Clock, mailbox: Mailbox
) -> None:
    made = saved(api, deliver=[{"by": "email", "to": ["a@acme.example"]}])
    done = app.test_cli_runner().invoke(args=["definitions", "run", made["id"]])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["status"] == "done"
    assert api.get(f"/definitions/{made['id']}").json["last_report"] == told["report"]
    clock.turn(utcnow() + timedelta(minutes=1))
    assert [mail["Subject"] for mail in mailbox.mails] == ["Apples"]


@pytest.mark.parametrize(("more", "code"), [({"holes": True}, 3), ({"fails": True}, 1)])
def test_a_command_says_by_its_exit_how_it_went(
    api: Api, app: Flask, more: dict[str, Any], code: int
) -> None:
    made = saved(api, params={"topic": "apples", **more})
    assert app.test_cli_runner().invoke(args=["definitions", "run", made["id"]]).exit_code == code


def test_a_command_for_an_unknown_one_is_bad_input(app: Flask) -> None:
    assert app.test_cli_runner().invoke(args=["definitions", "run", "x"]).exit_code == 2


def test_a_saved_report_is_changed_and_copied_by_page(
    api: Api, owner_browser: FlaskClient, clock: Clock
) -> None:
    made = saved(
        api,
        params={"topic": "apples", "mode": "long", "start": "-11", "end": "last_closed"},
        schedule={"every": "month", "grace_days": 3, "at": "08:30"},
        deliver=[{"by": "email", "to": ["a@acme.example"], "attach": ["csv"]}],
    )
    api.post(f"/definitions/{made['id']}/run", {})
    clock.work()
    address = f"/saved/{made['id']}"
    page = owner_browser.get(f"{address}/edit").text
    assert 'value="08:30"' in page
    assert '<option value="month" selected>' in page
    assert 'min="0" max="27" value="3"' in page
    assert "a@acme.example" in page
    assert "figure:Things" in page
    form = {
        "csrf_token": form_token(owner_browser, f"{address}/edit"),
        "name": "Apples, weekly",
        "every": "week",
        "weekday": "5",
        "at": "09:00",
        "emails": "b@acme.example",
        "attach": "xlsx",
        "relative.start": "2024-01",
        "relative.end": "last_closed",
        "alert_of": ["figure:Things", ""],
        "alert_when": ["above", "above"],
        "alert_limit": ["25,000", ""],
        "alert_percent": ["", ""],
        "alert_name": ["", ""],
        "quiet_begin": "22:00",
        "quiet_end": "06:00",
    }
    assert owner_browser.post(f"{address}/edit", data=form).status_code == 303
    found = api.get(f"/definitions/{made['id']}").json
    assert found["name"] == "Apples, weekly"
    assert found["params"] == {
        "topic": "apples",
        "mode": "long",
        "start": "2024-01",
        "end": "last_closed",
    }
    assert (found["schedule"]["every"], found["schedule"]["weekday"]) == ("week", 5)
    assert found["deliver"] == [{"by": "email", "to": ["b@acme.example"], "attach": ["xlsx"]}]
    assert [(a["name"], a["limit"]) for a in found["alerts"]] == [("Things above", 25000.0)]
    assert found["quiet"] == {"begin": "22:00", "end": "06:00"}
    shown = owner_browser.get(address).text
    assert "Things at least 25,000" in shown
    wrong = owner_browser.post(f"{address}/edit", data=form | {"alert_limit": ["many", ""]})
    assert wrong.status_code == 422
    assert "b@acme.example" in wrong.text
    copy = owner_browser.get(f"/saved/new?definition={made['id']}").text
    assert "Apples, weekly (copy)" in copy
    sent = form | {"definition": made["id"], "name": "Another"}
    assert owner_browser.post("/saved", data=sent).status_code == 303
    names = {one["name"] for one in api.get("/definitions").json}
    assert names == {"Apples, weekly", "Another"}


def test_targets_that_the_form_cannot_show_are_kept(api: Api, owner_browser: FlaskClient) -> None:
    two = [{"by": "webhook", "url": f"https://example.com/{n}"} for n in (1, 2)]
    made = saved(api, deliver=two)
    address = f"/saved/{made['id']}/edit"
    form = {"csrf_token": form_token(owner_browser, address), "name": "B", "keep_deliver": "true"}
    assert owner_browser.post(address, data=form).status_code == 303
    found = api.get(f"/definitions/{made['id']}").json
    assert [one["url"] for one in found["deliver"]] == [one["url"] for one in two]


def test_a_restated_value_is_seen_beside_what_was_counted_first(
    api: Api, owner_browser: FlaskClient, clock: Clock, app: Flask
) -> None:
    made = saved(api)
    reports = []
    for weight in (None, 7, 9):
        reports.append(api.post(f"/definitions/{made['id']}/run", {}).json["id"])
        clock.work()
        if weight is not None:
            _restate(app, reports[-1], weight)
    first = api.get(f"/definitions/{made['id']}/compare?from=first&to={reports[-1]}").json
    (row,) = first["changed"]
    assert (row["number"], first["from"]) == ("1000001", "first")
    assert row["changes"]["weight"] == {"from": 1111, "to": 9, "by": 9 - 1111}
    pair = f"from={reports[1]}&to={reports[2]}"
    between = api.get(f"/definitions/{made['id']}/compare?{pair}").json
    assert between["changed"][0]["changes"]["weight"]["by"] == 2
    page = owner_browser.get(f"/saved/{made['id']}/compare?from=first").text
    assert "1000001" in page
    assert "-1102" in page
    assert "−" not in page
    assert owner_browser.get(f"/saved/{made['id']}/compare").status_code == 200
    assert owner_browser.get(f"/saved/{made['id']}/compare?from=x").status_code == 422


def _restate(app: Flask, report_id: str, weight: int) -> None:
    with app.app_context():
        of_report = (ResultRow.report_id == report_id) & (ResultRow.position == 0)
        row = db.session.scalars(select(ResultRow).where(of_report)).one()
        row.data = row.data | {"weight": weight}
        db.session.commit()


def test_the_course_of_the_main_figure_is_on_the_page(
    api: Api, owner_browser: FlaskClient, clock: Clock
) -> None:
    made = saved(api)
    for things in (3, 9):
        change = {"params": {"topic": "apples", "things": things}}
        api.client.patch(f"/api/v1/definitions/{made['id']}", json=change, auth=api.auth)
        api.post(f"/definitions/{made['id']}/run", {})
        clock.turn(utcnow())
    page = owner_browser.get(f"/saved/{made['id']}").text
    assert 'points="0.0,28.0 100.0,2.0"' in page
    assert "Things over its runs" in page


def test_due_times_come_as_a_calendar(api: Api, api_for: Callable[[str], Api]) -> None:
    made = saved(api, schedule={"every": "month", "grace_days": 1, "at": "07:00"})
    saved(api, name="Paused", schedule={"every": "day", "at": "07:00"}, paused=True)
    answer = api.get("/definitions.ics")
    assert answer.content_type == "text/calendar; charset=utf-8"
    found = Calendar.from_ical(answer.data)
    events = found.walk("VEVENT")
    assert len(events) == 12
    assert events[0]["SUMMARY"] == "Apples: report"
    first = datetime.fromisoformat(made["next_run_at"])
    assert events[0]["DTSTART"].dt == first
    assert "BEGIN:VEVENT" not in api_for("stranger").get("/definitions.ics").text


def test_the_secret_of_webhooks_is_shown_once_by_page(
    api: Api, owner_browser: FlaskClient, clock: Clock
) -> None:
    made = saved(api, deliver=[{"by": "webhook", "url": "https://127.0.0.1/x"}])
    address = f"/saved/{made['id']}"
    token = {"csrf_token": form_token(owner_browser, address)}
    shown = owner_browser.post(f"{address}/secret", data=token).text
    assert shown.count("whsec_") == 1
    assert "whsec_" not in owner_browser.get(address).text
    assert made["webhook_secret"] not in shown


def test_old_runs_are_forgotten_but_the_newest_of_each_definition(
    app: Flask, api: Api, clock: Clock
) -> None:
    definition = saved(api)["id"]
    for _ in range(3):
        api.post(f"/definitions/{definition}/run")
        clock.turn(utcnow(), times=2)
    with app.app_context():
        db.session.execute(update(DefinitionRun).values(created_at=utcnow() - timedelta(days=9)))
        newest = db.session.scalars(select(DefinitionRun)).all()[-1]
        newest.created_at = utcnow() - timedelta(days=8)
        kept, app.config["DELIVERIES_KEPT_DAYS"] = newest.id, 7
        db.session.commit()
        assert drop_old_runs() == 2
        assert db.session.scalars(select(DefinitionRun.id)).all() == [kept]


def test_home_shows_runs_that_did_not_come_out_until_a_later_one_did(
    app: Flask, api: Api, owner_browser: FlaskClient, client_for: Callable[[str], FlaskClient]
) -> None:
    now = utcnow()

    def add_run(status: str, hours: int, **more: Any) -> None:
        at = now - timedelta(hours=hours)
        with app.app_context():
            own = {"definition_id": found["id"], "due_at": at, "created_at": at}
            db.session.add(DefinitionRun(status=status, **own, **more))
            db.session.commit()

    found = saved(api, name="Every apple")
    # A company without a report is greeted instead.
    api.post("/reports", {"kind": "tally", "params": {"topic": "apples"}})
    add_run("over", 30, period="2024-01")
    assert "Needs attention" not in owner_browser.get("/").text
    add_run("failed", 3, period="2024-02", error="The orchard is closed.")
    page = owner_browser.get("/").text
    assert f'href="/saved/{found["id"]}">Every apple' in page
    assert "The orchard is closed." in page
    assert "The orchard is closed." not in client_for("stranger").get("/").text
    add_run("due", 2, period="2024-03")
    page = owner_browser.get("/").text
    assert "and not begun" in page
    assert "The orchard is closed." not in page
    add_run("making", 1, period="2024-04")
    assert "and not begun" not in owner_browser.get("/").text


def test_a_run_of_what_is_deleted_at_that_moment_makes_no_report(app: Flask, api: Api) -> None:
    definition = saved(api)["id"]
    answers: list[Any] = []

    def run() -> None:
        path = f"/api/v1/definitions/{definition}/run"
        answers.append(app.test_client().post(path, auth=api.auth))

    with app.app_context():
        engine = db.engine
    with engine.begin() as connection:
        connection.execute(delete(Definition).where(Definition.id == definition))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.5)
    thread.join(30)
    assert_problem(answers[0], answers[0].status_code)
    # SQLite has one writer: there the run may not even have found it.
    assert answers[0].status_code in {404, 409}
    with app.app_context():
        assert db.session.scalars(select(Job)).all() == []
