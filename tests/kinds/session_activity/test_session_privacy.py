"""Privacy: who may see whose hours, what is held about somebody, names that are forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from tests.conftest import find_scope, form_token
from tests.kinds.session_activity.session_helpers import PREFIX, Sender
from webapp import jobs
from webapp.accounts import AuditEntry
from webapp.delivery.bodies import NewDefinition
from webapp.delivery.definitions import create_definition
from webapp.engine import service, shares
from webapp.engine.models import StoredMonth
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.session_activity.models import ClockOffset, Login, Segment, Session
from webapp.kinds.session_activity.names import change_name, change_settings
from webapp.kinds.session_activity.privacy import erase, forget_old

BOARD, MAY = "/session-activity", {"from_date": "2023-05-01", "to_date": "2023-05-31"}


@pytest.fixture
def settings(app: Flask) -> Callable[..., None]:
    """Return what changes the company's settings."""

    def change(**values: Any) -> None:
        with app.app_context():
            change_settings(find_scope(app, "owner"), values)

    return change


@pytest.fixture
def own(app: Flask, sender: Sender, settings: Callable[..., None]) -> None:
    """Let everybody see their own hours alone, of which anna's are the colleague's."""
    settings(hours_seen_by="oneself")
    with app.app_context():
        change = {"account": "colleague@example.com"}
        change_name(find_scope(app, "owner"), Login, "anna", change)


def at_work(sender: Sender, at: str | None = None) -> None:
    for login, place, address in (("anna", 0, "10.1.1.1"), ("bela", 1, "10.2.2.2")):
        computer = ("pink0001", "blue0002")[place]
        more = {"login": login, "comp_name": computer, "ip_addr": address, "next_ping_sec": 3600}
        assert sender.begin(f"{login}-{at}", at, **more).status_code == 201


def made(app: Flask, who: str, **params: Any) -> str:
    with app.app_context():
        scope = find_scope(app, who)
        report = service.start_report(scope, "session-activity", params, enqueue=False).report
        jobs.run_queued(report.id)
        db.session.remove()
        return str(report.id)


@pytest.mark.parametrize(
    ("by", "sees_bela"),
    [
        ("everybody", {"owner": True, "colleague": True, "viewer": True}),
        ("admins", {"owner": True, "colleague": False, "viewer": False}),
        ("oneself", {"owner": False, "colleague": False, "viewer": False}),
    ],
)
def test_every_page_and_address_shows_what_the_setting_lets_be_seen(
    app: Flask,
    sender: Sender,
    sender_for: Callable[..., Sender],
    client_for: Callable[[str], FlaskClient],
    settings: Callable[..., None],
    by: str,
    sees_bela: dict[str, bool],
) -> None:
    at_work(sender)
    settings(hours_seen_by=by)
    for who, sees in sees_bela.items():
        program, browser = sender_for(who), client_for(who)
        answers = [
            program.get("/dashboard"),
            browser.get(BOARD),
            browser.get(f"{BOARD}/online.csv"),
            browser.get(f"{BOARD}/login"),
            browser.get(f"{BOARD}/login?login=bela"),
            program.get("/activity", login="bela"),
            program.get("/held", login="bela"),
            browser.get(f"{BOARD}/held.json?login=bela"),
        ]
        found = [answer.status_code == 200 and "bela" in answer.text for answer in answers]
        assert found == [sees] * len(answers), (by, who)
        assert (browser.get(f"{BOARD}/use").status_code == 200) is sees
        listed = [row["Name"] for row in program.get("/users").json["data"]]
        assert ("bela" in listed) is (sees or who == "owner")
        seen = [row["last_seen"] is not None for row in program.get("/computers").json["data"]]
        assert any(seen) is sees


def test_one_sees_ones_own_hours(
    app: Flask, own: None, sender: Sender, sender_for: Callable[..., Sender],
    client_for: Callable[[str], FlaskClient],
) -> None:  # fmt: skip
    at_work(sender)
    program, browser = sender_for("colleague"), client_for("colleague")
    assert [row["login"] for row in program.get("/dashboard").json["data"]] == ["anna"]
    assert "anna" in browser.get(BOARD).text
    page = browser.get(f"{BOARD}/me").text
    assert "10.1.1.1" in page
    assert "Only you may see" in page
    assert "bela" not in page
    [mine] = program.get("/held").json["data"]
    assert [row["name"] for row in mine["names"]] == ["anna"]
    assert [row["ip_addr"] for row in mine["sessions"]] == ["10.1.1.1"]
    assert len(mine["time"]) == 1
    assert json.loads(browser.get(f"{BOARD}/held.json").data) == [mine]
    assert "No login belongs to your account" in client_for("viewer").get(f"{BOARD}/me").text


@pytest.mark.parametrize(
    ("login", "settings_of", "is_theirs"),
    [
        ("Colleague@Example.com", {}, True),
        ("colleague", {}, False),
        ("colleague", {"mail_domain": "example.com"}, True),
        ("colleague", {"mail_domain": "example.org"}, False),
        ("colleague@example.org", {"strips_domain": True}, False),
    ],
)
def test_a_login_called_like_an_account_is_its_own(
    sender: Sender,
    sender_for: Callable[..., Sender],
    settings: Callable[..., None],
    login: str,
    settings_of: dict[str, Any],
    is_theirs: bool,
) -> None:
    settings(hours_seen_by="admins", **settings_of)
    sender.post("/users", [{"Name": login}])
    own = sender_for("colleague").get("/held").json["data"]
    assert [row["name"] for one in own for row in one["names"]] == [login] * is_theirs
    if is_theirs:
        body = {"Name": login, "account": "viewer@example.com"}
        sender.client.patch(f"{PREFIX}/users", json=body, auth=sender.auth)
        assert sender_for("colleague").get("/held").json["data"] == []
        assert len(sender_for("viewer").get("/held").json["data"]) == 1


def test_a_report_shows_its_makers_hours_alone(app: Flask, own: None, sender: Sender) -> None:
    at_work(sender, "2023-05-03T08:00:00Z")
    with app.app_context():
        for params in ({"by": "computer"}, {"login": "bela"}):
            with pytest.raises(service.InvalidParams):
                service.start_report(find_scope(app, "colleague"), "session-activity", params)
    report = made(app, "colleague", range="dates", **MAY)
    with app.app_context():
        found = service.find_report(find_scope(app, "colleague"), report)
        assert found.head is not None
        assert (found.head["total_hours"], found.head["whose"]) == (1.0, "own")
        with pytest.raises(NotFound):
            service.find_report(find_scope(app, "owner"), report)


def test_a_stored_report_and_its_link_are_shown_no_longer_than_the_setting_lets(
    app: Flask,
    sender: Sender,
    settings: Callable[..., None],
    client_for: Callable[[str], FlaskClient],
) -> None:
    at_work(sender, "2023-05-03T08:00:00Z")
    report = made(app, "colleague", range="dates", **MAY)
    with app.app_context():
        scope = find_scope(app, "colleague")
        _, token = shares.make_share(scope, service.find_report(scope, report), days=7)
    colleague, viewer, nobody = client_for("colleague"), client_for("viewer"), app.test_client()
    pages = [(colleague, f"/reports/{report}"), (viewer, f"/reports/{report}.csv")]
    pages += [(viewer, f"/reports/{report}/events"), (nobody, f"/shared/{token}")]
    assert [client.get(path).status_code for client, path in pages] == [200] * 4
    assert report in viewer.get("/").text
    settings(hours_seen_by="admins")
    assert [client.get(path).status_code for client, path in pages] == [404] * 4
    assert report not in viewer.get("/").text
    assert client_for("owner").get(f"/reports/{report}").status_code == 200
    settings(hours_seen_by="everybody")
    assert [client.get(path).status_code for client, path in pages] == [200] * 4


def test_a_sender_learns_nothing_of_a_session_that_it_may_not_see(
    own: None, sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    at_work(sender)
    program = sender_for("colleague", scope="send")
    refused = program.begin("s9", None, login="bela", comp_name="red0003")
    assert (refused.status_code, refused.json["data"]) == (409, {})
    assert "blue0002" not in refused.text
    assert "pink0001" in program.begin("s9", None, login="anna", comp_name="red0003").text


def test_who_may_not_see_everybody_puts_nobody_elses_hours_or_name_right(
    own: None,
    sender: Sender,
    sender_for: Callable[..., Sender],
    client_for: Callable[[str], FlaskClient],
) -> None:
    at_work(sender)
    program, browser = sender_for("colleague"), client_for("colleague")
    for body in ({"Name": "bela", "merge_into": "anna"}, {"Name": "anna", "account": ""}):
        answer = program.client.patch(f"{PREFIX}/users", json=body, auth=program.auth)
        assert answer.status_code == 403
    wrong = {"start": "2023-05-03T08:00:00Z", "end": "2023-05-03T09:00:00Z", "reason": "mistake"}
    wrong["comp_name"] = "blue0002"
    assert program.post("/corrections", wrong | {"login": "bela"}).status_code == 400
    assert sender.post("/corrections", wrong | {"login": "bela"}).status_code == 201
    assert program.get("/corrections").json["data"] == []
    assert program.client.delete(f"{PREFIX}/corrections/1", auth=program.auth).status_code == 404
    form = {"csrf_token": form_token(browser), "session": "bela-None"}
    assert browser.post(f"{BOARD}/end", data=form).status_code == 404
    assert erased(program, "anna") == 403


def test_old_hours_go_on_counting_without_names_and_addresses(
    app: Flask, sender: Sender, report: Callable[..., Any], settings: Callable[..., None]
) -> None:
    whole = {"range": "dates", "from_date": "2023-03-01", "to_date": "2023-06-30"}
    at_work(sender, "2023-03-03T08:00:00Z")
    at_work(sender, "2023-04-30T23:30:00Z")
    # At another computer at the same time, across the end of a month.
    sender.begin("twice", "2023-04-30T23:45:00Z", comp_name="pink0001", next_ping_sec=3600)
    sender.ping("twice", "2023-05-01T00:10:00Z", session_type="zoom")
    sender.ping("twice", "2023-05-03T10:00:00Z", next_ping_sec=600)
    sender.post(
        "/corrections",
        {
            "login": "anna",
            "comp_name": "pink0001",
            "start": "2023-04-30T23:50:00Z",
            "end": "2023-05-01T00:05:00Z",
            "new_start": "2023-03-05T08:00:00Z",
            "new_end": "2023-03-05T09:00:00Z",
            "reason": "anna was elsewhere",
        },
    )
    before = {by: report(by=by, group_by="date", **whole) for by in ("login", "computer", "event")}
    settings(names_kept_months=1)
    with app.app_context():
        forget_old(datetime(2023, 6, 15, tzinfo=UTC))
        forget_old(datetime(2023, 6, 15, tzinfo=UTC))
    after = {by: report(by=by, group_by="date", **whole) for by in ("login", "computer", "event")}
    for by in ("computer", "event"):
        assert after[by]["hours"] == before[by]["hours"]
        assert after[by][f"{by}s"] == before[by][f"{by}s"]
    hours = [
        [(row["date"], row["hours"], row["machine_hours"]) for row in found["login"]["periods"]]
        for found in (before, after)
    ]
    assert hours[0] == hours[1]
    names = {row["login"] for row in after["login"]["hours"] if row["date"] < "2023-05-01"}
    assert len(names) == 4
    assert all(name.startswith("nameless 2023-0") for name in names)
    named = {row["login"] for row in after["login"]["hours"] if row["date"] >= "2023-05-01"}
    assert named == {"anna", "bela"}
    with app.app_context():
        early = select(Session).where(Session.started_at < datetime(2023, 5, 1, tzinfo=UTC))
        rows = list(db.session.scalars(early))
        assert {row.ip_addr for row in rows} == {""}
        assert not any("anna" in row.id or "twice" in row.id for row in rows)
        named_early = StoredMonth.item.in_(["anna", "bela"]) & (
            StoredMonth.month < date(2023, 5, 1)
        )
        assert not any(db.session.scalars(select(StoredMonth.value).where(named_early)))
    [kept] = sender.get("/corrections").json["data"]
    assert (kept["start"], kept["new_start"]) == ("2023-05-01T00:00:00Z", None)
    assert sender.ping("anna-2023-03-03T08:00:00Z", "2023-03-03T09:00:00Z").status_code == 404
    assert [row["Name"] for row in sender.get("/users").json["data"]] == ["anna", "bela"]


def test_reports_of_a_time_without_names_are_deleted(
    app: Flask, sender: Sender, settings: Callable[..., None]
) -> None:
    at_work(sender, "2023-03-03T08:00:00Z")
    old = made(app, "owner", range="dates", from_date="2023-03-01", to_date="2023-05-31")
    new = made(app, "owner", range="dates", **MAY)
    settings(names_kept_months=1)
    with app.app_context():
        forget_old(datetime(2023, 6, 15, tzinfo=UTC))
        with pytest.raises(NotFound):
            service.find_report(find_scope(app, "owner"), old)
    again = made(app, "owner", range="dates", from_date="2023-03-01", to_date="2023-05-31")
    with app.app_context():
        forget_old(datetime(2023, 6, 16, tzinfo=UTC))
        for kept in (new, again):
            assert service.find_report(find_scope(app, "owner"), kept).id == kept


def erased(sender: Sender, login: str) -> Any:
    """Erase a login by address and return the status."""
    path = f"{PREFIX}/users?login={login}"
    return sender.client.delete(path, auth=sender.auth).status_code


def everything_stored(app: Flask) -> str:
    """Return all that the database holds, but for what pages say of the settings."""
    with app.app_context():
        return "\n".join(
            repr(tuple(row))
            for table in db.metadata.sorted_tables
            for row in db.session.execute(table.select())
        )


def test_whoever_is_erased_is_named_nowhere_and_their_hours_stay(
    app: Flask, sender: Sender, report: Callable[..., Any]
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    sender.post("/users", [{"Name": "zoe.q"}])
    body = {"Name": "zoe.q", "new_name": "Zoë.Quill"}
    sender.client.patch(f"{PREFIX}/users", json=body, auth=sender.auth)
    sent = {"sent_at": (now - timedelta(minutes=5)).isoformat(), "ip_addr": "10.9.9.9"}
    for key, at in (("zoe.q-1", "2023-03-03T08:00:00Z"), ("zoe.q-2", now.isoformat())):
        assert sender.begin(key, at, login="ZOË.QUILL", **sent).status_code == 201
    wrong = {"start": "2023-03-03T08:00:00Z", "end": "2023-03-03T08:00:30Z"}
    wrong |= {"login": "zoë.quill", "comp_name": "pink0001", "reason": "Zoë.Quill was ill"}
    assert sender.post("/corrections", wrong).status_code == 201
    asked = {"kind": "session-activity", "params": {"login": "ZOË.Quill"}}
    assert sender.client.post("/api/v1/reports", json=asked, auth=sender.auth).status_code == 202
    before = report(by="computer", range="dates", from_date="2023-03-01", to_date="2023-03-31")
    report()
    with app.app_context():
        params = {"login": "zoë.quill", "start": "current", "end": "current"}
        new = {"name": "Weekly", "kind": "session-activity", "params": params}
        create_definition(find_scope(app, "owner"), NewDefinition.model_validate(new))
        waiting = service.start_report(find_scope(app, "owner"), "session-activity", {}).report.id
    assert (
        sender.client.delete(f"{PREFIX}/users?login=Zoë.Quill", auth=sender.auth).status_code == 200
    )
    left = everything_stored(app).casefold()
    assert "zoë" not in left
    assert "zoe" not in left
    assert "10.9.9.9" not in left
    after = report(by="computer", range="dates", from_date="2023-03-01", to_date="2023-03-31")
    assert after["hours"] == before["hours"]
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(ClockOffset)) == 0
        assert db.session.scalar(select(func.count()).select_from(Segment)) == 2
        assert "erased a login" in db.session.scalars(select(AuditEntry.action))
        with pytest.raises(NotFound):
            service.find_report(find_scope(app, "owner"), waiting)
    assert erased(sender, "zoe.q") == 404


def test_an_admin_erases_by_page_once_the_name_is_written_again(
    app: Flask, sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    browser = client_for("owner")
    form = {"csrf_token": form_token(browser), "login": "bela"}
    assert "bela" in browser.get(f"{BOARD}/erase?login=bela").text
    assert browser.post(f"{BOARD}/erase", data=form | {"again": "anna"}).status_code == 422
    assert browser.post(f"{BOARD}/erase", data=form | {"again": "bela"}).status_code == 303
    assert [row["Name"] for row in sender.get("/users").json["data"]] == ["anna"]
    assert client_for("colleague").get(f"{BOARD}/erase?login=anna").status_code == 403


def test_a_command_erases_too(app: Flask, sender: Sender) -> None:
    runner = app.test_cli_runner()
    arguments = ["session-activity", "erase", "bela", "--company", "Acme"]
    assert runner.invoke(args=arguments, input="n\n").exit_code == 1
    assert runner.invoke(args=[*arguments, "--yes"]).exit_code == 0
    assert [row["Name"] for row in sender.get("/users").json["data"]] == ["anna"]
    assert runner.invoke(args=[*arguments, "--yes"]).exit_code == 2


def test_settings_of_privacy_are_an_admins(
    app: Flask, sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    browser = client_for("owner")
    form = {"csrf_token": form_token(browser), "hours_seen_by": "admins"}
    form |= {"mail_domain": "Example.COM", "names_kept_months": "12"}
    browser.post(f"{BOARD}/settings", data=form)
    page = browser.get(f"{BOARD}/names/users").text
    assert 'value="admins" selected' in page
    assert 'value="example.com"' in page
    assert 'value="12"' in page
    wrong = browser.post(f"{BOARD}/settings", data=form | {"names_kept_months": "0"})
    assert wrong.status_code == 422
    assert "Write a whole number from 1 to 120." in wrong.text


def test_privacy_is_each_companys_own(
    app: Flask, own: None, sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    assert erased(sender_for("stranger"), "anna") == 404
    body = {"Name": "anna", "account": "stranger@example.com"}
    answer = sender.client.patch(f"{PREFIX}/users", json=body, auth=sender.auth)
    assert answer.status_code == 400
    with app.app_context(), pytest.raises(NotFound):
        erase(find_scope(app, "stranger").company_id, "anna", None)
