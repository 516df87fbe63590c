"""Alerts: told once when they begin and once when they end, quiet at night, silent about holes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient

from tests.conftest import Api
from tests.delivery.conftest import Clock, Mailbox, Receiver, saved
from webapp.delivery.results import as_number
from webapp.delivery.schedules import quiet_until

DAILY = {"every": "day", "at": "07:00"}
DUE = datetime(2031, 4, 2, 5, 0, tzinfo=UTC)  # 07:00 in Berlin
FULL = {"name": "Full", "figure": "Things", "when": "above", "limit": 20}


class Watching:
    """A saved report that is made day after day, each with so many things."""

    def __init__(
        self, api: Api, clock: Clock, url: str, alert: dict[str, Any], **more: Any
    ) -> None:
        self.api, self.clock, self.due = api, clock, DUE
        deliver = [{"by": "webhook", "url": url}]
        self.id = saved(api, schedule=DAILY, deliver=deliver, alerts=[alert], **more)["id"]

    def day(self, **params: Any) -> None:
        """Make the next day's report with these parameters."""
        body = {"params": {"topic": "apples"} | params}
        answer = self.api.client.patch(
            f"/api/v1/definitions/{self.id}", json=body, auth=self.api.auth
        )
        assert answer.status_code == 200, answer.text
        self.clock.due(self.id, self.due)
        self.clock.turn(self.due)
        self.due += timedelta(days=1)

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"/definitions/{self.id}").json["alert_states"]
        return found


def alerts_told(receiver: Receiver) -> list[tuple[str, str]]:
    """Return the events of alerts that a receiver got, and the sentence of each."""
    bodies = [json.loads(body) for _, body in receiver.got]
    return [
        (body["type"], body["data"]["alert"]["sentence"])
        for body in bodies
        if body["type"].startswith("alert.")
    ]


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_ends(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    watching = Watching(api, clock, receiver.url, FULL)
    for things in (12, 21, 25, 30, 19, 20):
        watching.day(things=things)
    assert alerts_told(receiver) == [
        ("alert.began", "Things is 21; the limit is 20."),
        ("alert.ended", "Things is 19; the limit is 20."),
        ("alert.began", "Things is 20; the limit is 20."),
    ]
    assert watching.state["Full"]["since"] == "2031-04-07T05:00:00Z"
    runs = api.get(f"/definitions/{watching.id}/runs").json
    assert [run["figures"] for run in runs][:2] == [
        [{"label": "Things", "value": 20.0}],
        [{"label": "Things", "value": 19.0}],
    ]


@pytest.mark.parametrize(
    ("rule", "things", "held"),
    [
        ({"figure": "Things", "when": "below", "limit": 5}, (6, 5, 6), (False, True, False)),
        (
            {"figure": "Things", "when": "share", "limit": 30, "percent": 80},
            (23, 24, 23),
            (False, True, False),
        ),
        (
            {"figure": "Things", "when": "change", "percent": 50},
            (10, 15, 16, 8),
            (False, True, False, True),
        ),
        (
            {"figure": "Things", "when": "unusual"},
            (10, 12, 14, 15, 17, 19, 21, 40, 42),
            (False,) * 7 + (True, False),
        ),
        (
            {"column": "weight", "when": "above", "limit": 4444},
            (3, 4, 8, 3),
            (False, True, True, False),
        ),
    ],
)
def test_each_rule_holds_when_it_says(
    api: Api,
    clock: Clock,
    receiver: Receiver,
    rule: dict[str, Any],
    things: tuple[int, ...],
    held: tuple[bool, ...],
) -> None:
    watching = Watching(api, clock, receiver.url, {"name": "A", **rule})
    found = []
    for count in things:
        watching.day(things=count)
        found.append(watching.state["A"]["since"] is not None)
    assert tuple(found) == held


def test_home_shows_what_holds_to_who_may_see_it(
    api: Api, clock: Clock, receiver: Receiver, client_for: Callable[[str], FlaskClient]
) -> None:
    watching = Watching(api, clock, receiver.url, FULL)
    watching.day(things=21)
    home = client_for("viewer").get("/").text
    assert f"/saved/{watching.id}" in home
    assert "Things is 21; the limit is 20." in home
    assert watching.id not in client_for("stranger").get("/").text
    watching.day(things=19)
    assert watching.id not in client_for("viewer").get("/").text


def test_an_alert_over_rows_names_them(api: Api, clock: Clock, receiver: Receiver) -> None:
    rule = {"name": "Heavy", "column": "weight", "when": "above", "limit": 4444}
    Watching(api, clock, receiver.url, rule).day(things=9)
    (body,) = [json.loads(body) for _, body in receiver.got if b"alert.began" in body]
    assert body["data"]["alert"]["rows"] == ["1000004", "1000009"]
    assert "1000004: weight is 4,444; the limit is 4,444." in body["data"]["alert"]["sentence"]


def test_a_hole_neither_begins_nor_ends_an_alert(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    rule = {"name": "A", "figure": "Nothing of this name", "when": "above", "limit": 1}
    watching = Watching(api, clock, receiver.url, rule)
    watching.day()
    assert alerts_told(receiver) == []
    assert watching.state["A"]["sentence"] == "Nothing of this name is not known."
    assert watching.state["A"]["since"] is None


def test_alerts_wait_for_the_end_of_the_quiet_hours_and_reports_do_not(
    api: Api, clock: Clock, receiver: Receiver
) -> None:
    quiet = {"begin": "22:00", "end": "09:00"}
    watching = Watching(api, clock, receiver.url, FULL, quiet=quiet)
    watching.day(things=21)
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["report.finished"]
    clock.turn(DUE + timedelta(minutes=119))
    assert alerts_told(receiver) == []
    clock.turn(DUE + timedelta(minutes=120))
    assert [event for event, _ in alerts_told(receiver)] == ["alert.began"]


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2031-04-02T20:00", "2031-04-03T05:00"),  # 22:00 in Berlin: until 7:00 of the next day
        ("2031-04-03T04:59", "2031-04-03T05:00"),
        ("2031-04-03T05:00", "2031-04-03T05:00"),
        ("2031-04-02T19:59", "2031-04-02T19:59"),
        ("2031-03-29T22:00", "2031-03-30T05:00"),  # the clocks go forward in this night
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(now: str, until: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = quiet_until(moment, "22:00", "07:00", ZoneInfo("Europe/Berlin"))
    assert found == datetime.fromisoformat(until).replace(tzinfo=UTC)


def test_an_alert_comes_by_mail_and_says_why(api: Api, clock: Clock, mailbox: Mailbox) -> None:
    deliver = [{"by": "email", "to": ["a@acme.example"], "attach": ["csv"]}]
    made = saved(api, schedule=DAILY, deliver=deliver, alerts=[FULL | {"limit": 10}])
    clock.due(made["id"], DUE)
    clock.turn(DUE)
    by_subject = {mail["Subject"]: mail for mail in mailbox.mails}
    told = by_subject["Apples · 2031-04-02 · alert: Full"]
    assert "Things is 12; the limit is 10." in told.get_body(("plain",)).get_content()
    assert list(told.iter_attachments()) == []
    assert len(by_subject) == 2


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        ({"when": "above", "limit": 1}, "Give either figure or column."),
        ({"figure": "A", "column": "b", "when": "above", "limit": 1}, "Give either figure"),
        ({"figure": "A", "when": "above"}, "needs limit"),
        ({"figure": "A", "when": "share", "limit": 3}, "needs percent"),
        ({"figure": "A", "when": "above", "limit": 3, "percent": 3}, "takes no percent"),
        ({"column": "a", "when": "unusual"}, "needs a figure"),
        ({"figure": "A", "when": "above", "limit": float("nan")}, ""),
    ],
)
def test_an_alert_that_cannot_be_is_refused_in_words(
    api: Api, alert: dict[str, Any], sentence: str
) -> None:
    body = {"name": "x", "kind": "tally", "params": {"topic": "a"}}
    answer = api.post("/definitions", body | {"alerts": [{"name": "A", **alert}]})
    assert answer.status_code in {400, 422}
    assert sentence in answer.text


def test_two_alerts_of_one_name_are_refused(api: Api) -> None:
    body = {"name": "x", "kind": "tally", "params": {"topic": "a"}, "alerts": [FULL, FULL]}
    answer = api.post("/definitions", body)
    assert answer.status_code == 422
    assert "a different name" in answer.text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.50 EUR", 1234.5),
        ("-3", -3.0),
        ("+12 (4 %)", 12.0),
        (7, 7.0),
        ("2025-03", None),
        ("10:20", None),
        ("none", None),
        (None, None),
        (True, None),
    ],
)
def test_figures_are_read_as_numbers(text: Any, number: float | None) -> None:
    assert as_number(text) == number
