"""The six requests: envelopes, errors, repeats, what a list is answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kinds.session_activity.session_helpers import Sender, ping_body

EIGHT = "2023-09-06T08:00:00Z"


def soon(seconds: int = 0) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_names_are_added_once_and_known_ones_are_no_error(sender: Sender) -> None:
    for path in ("/users", "/computers"):
        for _ in range(2):
            answer = sender.post(path, [{"Name": "user_1"}, {"name": "user_2"}])
            assert (answer.status_code, answer.json) == (201, {"message": "Created"})


@pytest.mark.parametrize(("path", "longest"), [("/users", 50), ("/computers", 30)])
def test_a_name_that_is_too_long_is_refused_by_its_place(
    sender: Sender, path: str, longest: int
) -> None:
    assert sender.post(path, [{"Name": "x" * longest}]).status_code == 201
    answer = sender.post(path, [{"Name": "ok"}, {"Name": "x" * (longest + 1)}])
    assert answer.status_code == 400
    assert list(answer.json["data"]["errors"]) == ["1.name"]


@pytest.mark.parametrize("body", ["{", "", '"text"', "[1]", "[{}]", '[{"Name": 5}]', "\xff"])
def test_a_body_nobody_can_read_is_a_400_with_a_sentence(sender: Sender, body: str) -> None:
    answer = sender.post("/users", data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json["message"].endswith(".")


@pytest.mark.parametrize("name", ["Ana\u00a0María", "山田\u3000太郎", "نمی\u200cدانم", "O’Neil"])
def test_names_are_written_as_people_write_them(sender: Sender, name: str) -> None:
    for path in ("/users", "/computers"):
        assert sender.post(path, [{"Name": name}]).status_code == 201
    assert sender.begin("s1", EIGHT, login=name, comp_name=name).status_code == 201
    assert sender.ping("s1", EIGHT, login=name, session_type=name).status_code == 201
    assert sender.hours(login=name, session_type=name)["login"] == name


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "a\x7f", "a\u2028b", "\ud800", "a\x85b"])
def test_names_of_more_than_a_line_or_that_cannot_be_stored_are_refused(
    sender: Sender, name: str
) -> None:
    answer = sender.post("/users", [{"Name": name}])
    assert answer.status_code == 400
    assert list(answer.json["data"]["errors"]) == ["0.name"]


def test_a_session_begins_once_and_a_repeat_changes_nothing(sender: Sender) -> None:
    assert sender.begin("s1", EIGHT).status_code == 201
    before = sender.hours(from_date="2023-09-06", to_date="2023-09-06")
    again = sender.begin("s1", EIGHT)
    assert (again.status_code, again.json["message"]) == (200, "Success")
    assert sender.hours(from_date="2023-09-06", to_date="2023-09-06") == before
    other = sender.begin("s1", EIGHT, next_ping_sec=61)
    assert other.status_code == 409
    assert other.json["data"]["id"] == "s1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"login": "nobody"}, "login"),
        ({"comp_name": "unknown"}, "comp_name"),
        ({"id": ""}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"ip_addr": "fe80::1%\ud800"}, "ip_addr"),
        ({"ip_addr": "fe80::1%\x00"}, "ip_addr"),
        ({"ip_addr": "x" * 65}, "ip_addr"),
        ({"next_ping_sec": 0}, "next_ping_sec"),
        ({"next_ping_sec": 86401}, "next_ping_sec"),
        ({"next_ping_sec": "60"}, "next_ping_sec"),
        ({"next_ping_sec": True}, "next_ping_sec"),
        ({"date_time": "yesterday"}, "date_time"),
        ({"date_time": "2023-13-01"}, "date_time"),
        ({"login": "a\x00b"}, "login"),
    ],
)
def test_a_session_with_a_bad_value_is_a_400_that_names_the_field(
    sender: Sender, change: dict[str, Any], field: str
) -> None:
    body = {"login": "anna", "at": EIGHT} | {"date_time": EIGHT} | change
    answer = sender.begin("s1", **body)
    assert answer.status_code == 400, answer.text
    assert list(answer.json["data"]["errors"]) == [field]


@pytest.mark.parametrize(
    "address", ["10.0.0.1 172.17.0.1", "lab-7.example.org", "10.0.0.1:5000", "x" * 64]
)
def test_an_address_that_is_none_is_kept_as_it_is(sender: Sender, address: str) -> None:
    assert sender.begin("s1", None, ip_addr=address).status_code == 201
    [row] = sender.get("/dashboard").json["data"]
    assert row["ip_addr"] == address
    assert sender.begin("s1", None, ip_addr=address).status_code == 200


def test_an_address_keeps_its_scope(sender: Sender) -> None:
    sender.begin("s1", None, ip_addr="fe80::1%en0")
    [row] = sender.get("/dashboard").json["data"]
    assert row["ip_addr"] == "fe80::1%en0"


def test_a_login_online_elsewhere_is_a_409_with_the_running_session(sender: Sender) -> None:
    assert sender.begin("s1", None).status_code == 201
    answer = sender.begin("s2", None, comp_name="blue0002")
    assert answer.status_code == 409
    assert answer.json["data"]["id"] == "s1"
    assert answer.json["data"]["comp_name"] == "pink0001"
    # The same computer again, after a restart, and another login elsewhere are fine.
    assert sender.begin("s3", None).status_code == 201
    assert sender.begin("s4", None, login="bela", comp_name="blue0002").status_code == 201


def test_a_session_that_was_over_before_may_be_reported_late(sender: Sender) -> None:
    assert sender.begin("s1", None).status_code == 201
    assert sender.begin("s2", EIGHT, comp_name="blue0002").status_code == 201


def test_a_ping_of_an_unknown_session_is_a_404(sender: Sender) -> None:
    answer = sender.ping("nowhere", EIGHT)
    assert (answer.status_code, answer.json["message"]) == (404, "There is no such session.")


def test_a_ping_of_another_login_is_refused(sender: Sender) -> None:
    sender.begin("s1", EIGHT)
    assert sender.ping("s1", EIGHT, login="bela").status_code == 400


def test_a_list_of_pings_is_answered_item_by_item(sender: Sender) -> None:
    sender.begin("s1", EIGHT)
    good = [ping_body("s1", f"2023-09-06T08:0{minute}:00Z") for minute in (3, 1, 2)]
    answer = sender.post("/activity", good)
    assert answer.status_code == 201
    assert [item["status"] for item in answer.json["data"]] == [201, 201, 201]
    mixed = [good[0], ping_body("nowhere", EIGHT), {"session_id": "s1"}, 5]
    answer = sender.post("/activity", mixed)
    assert answer.status_code == 207
    assert [item["status"] for item in answer.json["data"]] == [201, 404, 400, 400]
    assert sender.post("/activity", []).status_code == 201


def test_field_names_are_read_in_any_case(sender: Sender) -> None:
    body = {
        "ID": "s1",
        "Comp_Name": "pink0001",
        "IP_Addr": "192.168.1.100",
        "Login": "anna",
        "Next_Ping_Sec": 60,
        "Date_Time": "2023-09-06 08:00:00",
    }
    assert sender.post("/session", body).status_code == 201
    assert sender.begin("s1", EIGHT).status_code == 200


def test_the_dashboard_lists_who_is_online_until_their_promise(sender: Sender) -> None:
    sender.begin("old", EIGHT)
    start = soon(-30)
    sender.begin("s1", start)
    [row] = sender.get("/dashboard").json["data"]
    end = datetime.fromisoformat(start) + timedelta(seconds=60)
    assert row == {
        "id": "s1",
        "comp_name": "pink0001",
        "ip_addr": "192.168.1.100",
        "login": "anna",
        "start_date_time": start,
        "end_date_time": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    sender.ping("s1", soon(-10), session_type="platform zero", next_ping_sec=9)
    assert sender.get("/dashboard").json == {"message": "Success", "data": []}


def test_hours_by_month_come_in_the_shape_of_the_original(sender: Sender) -> None:
    sender.begin("s1", "2023-05-01T10:00:00Z", next_ping_sec=3600)
    sender.begin("s2", "2023-09-06T08:00:00Z", next_ping_sec=5400)
    data = sender.hours(from_date="2023-01-01T00:00:00Z", to_date="2023-12-31", group_by="month")
    assert data == {
        "id": "anna",
        "login": "anna",
        "total_hours": 2.5,
        "total_machine_hours": 2.5,
        "user_activity": [
            {"year": "2023", "month_num": "9", "hours": 1.5, "machine_hours": 1.5},
            {"year": "2023", "month_num": "5", "hours": 1.0, "machine_hours": 1.0},
        ],
    }


def test_hours_by_date_are_one_row_a_date_with_the_last_day_included(sender: Sender) -> None:
    sender.begin("s1", "2023-01-01T23:30:00Z", next_ping_sec=3600)
    sender.begin("s2", "2023-01-02T20:00:00Z", next_ping_sec=600)
    data = sender.hours(from_date="2023-01-01", to_date="2023-01-02T00:00:00Z", group_by="date")
    assert [(row["date"], row["hours"]) for row in data["user_activity"]] == [
        ("2023-01-01T00:00:00Z", 0.5),
        ("2023-01-02T00:00:00Z", 0.666667),
    ]
    assert data["total_hours"] == 1.17


def test_without_dates_today_is_meant(sender: Sender) -> None:
    sender.begin("s1", "2023-01-01T23:30:00Z")
    assert sender.hours() == {
        "id": "anna",
        "login": "anna",
        "total_hours": 0.0,
        "total_machine_hours": 0.0,
        "user_activity": [],
    }
    sender.begin("s2", None)
    assert sender.hours()["total_hours"] > 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"login": ""}, "login"),
        ({"group_by": "year"}, "group_by"),
        ({"from_date": "soon"}, "from_date"),
        ({"from_date": "2023-02-01", "to_date": "2023-01-01"}, "to_date"),
        ({"from_date": "2999-02-01"}, "from_date"),
    ],
)
def test_a_bad_question_is_a_400_that_names_the_parameter(
    sender: Sender, query: dict[str, str], field: str
) -> None:
    answer = sender.get("/activity", **({"login": "anna"} | query))
    assert answer.status_code == 400
    assert list(answer.json["data"]["errors"]) == [field]


def test_strangers_and_other_companies_see_nothing(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    sender.begin("s1", None)
    anonymous = Sender(sender.client, ("nobody", "wrong"))
    for path in ("/dashboard", "/activity"):
        answer = anonymous.get(path)
        assert answer.status_code == 401
        assert set(answer.json) == {"message", "data"}
    stranger = sender_for("stranger")
    assert stranger.get("/dashboard").json["data"] == []
    assert stranger.get("/activity", login="anna").status_code == 404
    assert stranger.ping("s1", None).status_code == 404
    assert stranger.begin("s2", None).status_code == 400


def test_a_viewer_reads_and_does_not_send(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    viewer = sender_for("viewer")
    assert viewer.get("/dashboard").status_code == 200
    assert viewer.begin("s1", None).status_code == 403


def test_a_key_limited_to_sending_reads_nothing(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    limited = sender_for("colleague", scope="send")
    assert limited.post("/users", [{"Name": "cleo"}]).status_code == 201
    assert limited.post("/computers", [{"Name": "grey0004"}]).status_code == 201
    assert limited.begin("s1", EIGHT).status_code == 201
    assert limited.ping("s1", EIGHT).status_code == 201
    for path in ("/dashboard", "/activity"):
        answer = limited.get(path, login="anna")
        assert answer.status_code == 403
        assert set(answer.json) == {"message", "data"}
    for path in ("/api/v1/reports", "/api/v1/kinds", "/session-activity", "/"):
        assert limited.client.get(path, auth=limited.auth).status_code in {303, 403}


def test_an_unknown_address_and_a_wrong_method_keep_the_envelope(sender: Sender) -> None:
    assert sender.get("/nothing").json["data"] == []
    answer = sender.client.delete("/api/session-manager/session", auth=sender.auth)
    assert answer.status_code == 405
    assert answer.json["message"]


def test_a_ping_that_was_taken_is_a_line_in_the_log_only_for_who_asks(
    sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    sender.post("/users", [{"Name": "user_1"}])
    sender.post("/computers", [{"Name": "pc_1"}])

    def lines() -> list[tuple[int, str]]:
        caplog.clear()
        assert sender.begin("s1", EIGHT, login="user_1", comp_name="pc_1").status_code < 300
        assert sender.ping("s1", EIGHT, login="user_1").status_code == 201
        assert sender.ping("s2", EIGHT, login="user_1").status_code == 404
        return [
            (record.status, record.path.rpartition("/")[2])
            for record in caplog.records
            if record.name == "webapp.access"
        ]

    with caplog.at_level("INFO", "webapp.access"):
        assert lines() == [(201, "session"), (404, "activity")]
    with caplog.at_level("DEBUG", "webapp.access"):
        assert lines() == [(200, "session"), (201, "activity"), (404, "activity")]
