"""One person is one person: names matched, found, renamed, merged and switched off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import find_scope, form_token
from tests.kinds.session_activity.session_helpers import PREFIX, Sender
from webapp.kinds.session_activity.names import change_settings, key_of

DAY = {"from_date": "2023-09-06", "to_date": "2023-09-06"}
EIGHT, NINE = "2023-09-06T08:00:00Z", "2023-09-06T09:00:00Z"
E_ACUTE, E_AND_ACUTE = "Ren\u00e9e", "Rene\u0301e"


def patch(sender: Sender, path: str, **body: Any) -> Any:
    return sender.client.patch(PREFIX + path, json=body, auth=sender.auth)


@pytest.fixture
def stripped(app: Flask, sender: Sender) -> Sender:
    """Return the program of a company where a domain says nothing of who somebody is."""
    with app.app_context():
        change_settings(find_scope(app, "owner"), {"strips_domain": True})
    return sender


@pytest.mark.parametrize(
    ("one", "other"), [("anna", "ANNA"), (E_ACUTE, E_AND_ACUTE), ("STRASSE", "straße")]
)
def test_case_and_unicode_form_make_nobody_somebody_else(
    sender: Sender, one: str, other: str
) -> None:
    sender.post("/users", [{"Name": one}, {"Name": other}])
    found = [row["Name"] for row in sender.get("/users").json["data"]]
    assert set(found) == {"anna", "bela", one}
    assert sender.begin("s1", EIGHT, login=other, comp_name="PINK0001").status_code == 201
    assert sender.begin("s1", EIGHT, login=one).status_code == 200
    assert sender.ping("s1", "2023-09-06T08:01:00Z", login=other).status_code == 201
    data = sender.hours(login=other, **DAY)
    assert (data["login"], data["total_hours"]) == (one, 0.03)


@pytest.mark.parametrize("name", ["ACME\\anna", "Anna@acme.example", "anna"])
def test_a_domain_counts_unless_the_company_says_otherwise(
    app: Flask, sender: Sender, name: str
) -> None:
    if name != "anna":
        assert sender.begin("s0", EIGHT, login=name).status_code == 400
        sender.post("/users", [{"Name": name}])
        assert sender.begin("s0", EIGHT, login=name).status_code == 201
    with app.app_context():
        change_settings(find_scope(app, "owner"), {"strips_domain": True})
    # Who had become two is one again, their hours with them.
    assert [row["Name"] for row in sender.get("/users").json["data"]] == ["anna", "bela"]
    assert sender.begin("s1", NINE, login=name).status_code == 201
    assert sender.ping("s1", "2023-09-06T09:01:00Z", login=name).status_code == 201
    assert sender.ping("s1", "2023-09-06T09:02:00Z", login="OTHER\\bela").status_code == 400
    assert sender.hours(**DAY)["total_hours"] == (0.05 if name != "anna" else 0.03)


def test_names_that_lead_to_somebody_go_on_to_do_so_without_their_domain(
    app: Flask, sender: Sender
) -> None:
    sender.post("/users", [{"Name": "ACME\\cleo"}, {"Name": "ACME\\bela"}, {"Name": "ACME\\dora"}])
    for key, name in (("s1", "ACME\\cleo"), ("s2", "ACME\\dora")):
        assert sender.begin(key, EIGHT, login=name).status_code == 201
    # One is renamed, one is another one, and one bears a name that somebody had before.
    assert patch(sender, "/users", Name="ACME\\cleo", new_name="grace").status_code == 200
    assert patch(sender, "/users", Name="ACME\\dora", merge_into="anna").status_code == 200
    assert patch(sender, "/users", Name="bela", new_name="hedy").status_code == 200
    with app.app_context():
        change_settings(find_scope(app, "owner"), {"strips_domain": True})
    for key, name in (("s1", "ACME\\cleo"), ("s1", "cleo"), ("s2", "OTHER\\dora")):
        assert sender.ping(key, "2023-09-06T08:01:00Z", login=name).status_code == 201
    assert [
        sender.hours(login=name, **DAY)["login"] for name in ("cleo", "dora", "ACME\\bela")
    ] == [
        "grace",
        "anna",
        "hedy",
    ]
    assert [row["Name"] for row in sender.get("/users").json["data"]] == ["anna", "grace", "hedy"]
    assert [row["Name"] for row in sender.get("/users", search="cleo").json["data"]] == ["grace"]


def test_names_with_a_domain_are_searched_and_paged(stripped: Sender) -> None:
    names = [f"ACME\\{letter}" for letter in "pqrs"]
    stripped.post("/users", [{"Name": name} for name in names])
    first = stripped.get("/users", limit="4").json
    second = stripped.get("/users", limit="4", after=first["next"]).json
    assert [row["Name"] for row in first["data"] + second["data"]] == ["anna", "bela", *names]
    found = stripped.get("/users", search="acme\\q").json["data"]
    assert [row["Name"] for row in found] == ["ACME\\q"]


def test_a_name_of_nothing_but_a_domain_stays_what_it_is() -> None:
    assert key_of("ACME\\", strips_domain=True) == "acme\\"
    assert key_of("@acme", strips_domain=True) == "@acme"


def test_names_are_listed_searched_and_paged(sender: Sender) -> None:
    assert [row["Name"] for row in sender.get("/users", search="EL").json["data"]] == ["bela"]
    first = sender.get("/computers", limit="2").json
    assert [row["Name"] for row in first["data"]] == ["blue0002", "pink0001"]
    second = sender.get("/computers", limit="2", after=first["next"]).json
    assert ([row["Name"] for row in second["data"]], second["next"]) == (["red0003"], None)
    sender.begin("s1", EIGHT)
    assert sender.get("/users", search="anna").json["data"] == [
        {"Name": "anna", "is_off": False, "others": [], "last_seen": EIGHT, "account": None}
    ]


def test_a_renamed_login_keeps_its_hours_and_answers_to_both_names(sender: Sender) -> None:
    sender.begin("s1", EIGHT)
    assert patch(sender, "/users", Name="anna", new_name="anne").status_code == 200
    assert sender.ping("s1", "2023-09-06T08:01:00Z", login="anna").status_code == 201
    assert sender.ping("s1", "2023-09-06T08:02:00Z", login="anne").status_code == 201
    for name in ("anna", "ANNE"):
        data = sender.hours(login=name, **DAY)
        assert (data["login"], data["total_hours"]) == ("anne", 0.05)
    assert patch(sender, "/users", Name="anne", new_name="Bela").status_code == 409
    assert patch(sender, "/users", Name="anne", new_name="anna").status_code == 200
    assert sender.hours(login="anne", **DAY)["login"] == "anna"


def test_merged_logins_are_one_person_with_the_hours_of_both(sender: Sender) -> None:
    sender.begin("s1", EIGHT, next_ping_sec=3600)
    sender.begin("s2", "2023-09-06T08:30:00Z", login="bela", next_ping_sec=3600)
    assert patch(sender, "/users", Name="bela", merge_into="ANNA").status_code == 200
    for name in ("anna", "bela"):
        data = sender.hours(login=name, **DAY)
        # Two sessions at one computer count once.
        assert (data["login"], data["total_hours"], data["total_machine_hours"]) == (
            ("anna", 1.5, 1.5)
        )
    assert sender.ping("s2", "2023-09-06T10:00:00Z", login="bela").status_code == 201
    assert sender.begin("s3", None, login="bela").status_code == 201
    answer = sender.begin("s4", None, login="anna", comp_name="blue0002")
    assert answer.status_code == 409
    assert [row["others"] for row in sender.get("/users").json["data"]] == [["bela"]]


def test_merged_computers_are_one_machine(sender: Sender) -> None:
    sender.begin("s1", EIGHT, next_ping_sec=3600)
    sender.begin("s2", EIGHT, comp_name="blue0002", next_ping_sec=3600)
    assert sender.hours(**DAY)["total_machine_hours"] == 2.0
    assert patch(sender, "/computers", Name="blue0002", merge_into="pink0001").status_code == 200
    assert sender.hours(**DAY)["total_machine_hours"] == 1.0
    assert sender.begin("s3", EIGHT, comp_name="blue0002").status_code == 201


@pytest.mark.parametrize(
    ("path", "name", "field"),
    [("/users", "anna", "login"), ("/computers", "pink0001", "comp_name")],
)
def test_who_is_switched_off_begins_no_session_and_keeps_its_hours(
    sender: Sender, path: str, name: str, field: str
) -> None:
    sender.begin("s1", EIGHT)
    assert patch(sender, path, Name=name, is_off=True).status_code == 200
    answer = sender.begin("s2", NINE)
    assert answer.status_code == 400
    assert answer.json["data"]["errors"][field].endswith("is switched off.")
    assert sender.ping("s1", "2023-09-06T08:01:00Z").status_code == 201
    assert sender.hours(**DAY)["total_hours"] == 0.03
    assert patch(sender, path, Name=name, is_off=False).status_code == 200
    assert sender.begin("s2", NINE).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Name": "nobody", "is_off": True}, 404),
        ({"Name": "anna"}, 400),
        ({"Name": "anna", "merge_into": "nobody"}, 400),
        ({"Name": "anna", "merge_into": "Anna"}, 400),
        ({"Name": "anna", "new_name": "x" * 51}, 400),
        ({"Name": "anna", "is_off": "perhaps"}, 400),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_a_sentence(
    sender: Sender, body: dict[str, Any], status: int
) -> None:
    answer = patch(sender, "/users", **body)
    assert answer.status_code == status
    assert answer.json["message"].endswith(".")


def test_whose_account_a_login_is_goes_with_its_hours(sender: Sender) -> None:
    def accounts() -> dict[str, Any]:
        return {row["Name"]: row["account"] for row in sender.get("/users").json["data"]}

    sender.post("/users", [{"Name": "cleo"}])
    for name, account in (("anna", "colleague@example.com"), ("cleo", "viewer@example.com")):
        assert patch(sender, "/users", Name=name, account=account).status_code == 200
    assert patch(sender, "/users", Name="anna", merge_into="bela").status_code == 200
    assert accounts() == {"bela": "colleague@example.com", "cleo": "viewer@example.com"}
    assert patch(sender, "/users", Name="cleo", merge_into="bela").status_code == 200
    assert accounts() == {"bela": "colleague@example.com"}


def test_names_are_changed_by_page_by_experts_and_settings_by_admins(
    app: Flask, sender: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    address = "/session-activity/names/"
    viewer, expert, admin = (client_for(name) for name in ("viewer", "colleague", "owner"))
    assert "anna" in viewer.get(address + "users").text
    assert "Change" not in viewer.get(address + "users").text
    assert "No name contains" in viewer.get(address + "users?search=zz").text

    def send(browser: FlaskClient, path: str, **form: str) -> str:
        token = form_token(browser, address + "computers")
        answer = browser.post(path, data=form | {"csrf_token": token}, follow_redirects=True)
        return str(answer.text)

    assert "Changed." in send(expert, address + "computers", Name="red0003", room="Red room")
    assert "Changed." in send(expert, address + "users", Name="bela", merge_into="anna")
    # A change that is refused is shown as it was typed, in its own row, with its sentence.
    for which, name, field, typed, sentence in (
        ("users", "anna", "merge_into", "Anna", "Name another login that is known."),
        ("computers", "blue0002", "new_name", "PINK0001", "There is a computer"),
        ("computers", "blue0002", "room", "r" * 51, "Use at most 50 characters."),
    ):
        said = send(expert, address + which, **{"Name": name, field: typed})
        assert said.count("<details open>") == 1
        assert f'name="{field}" value="{typed}" autocomplete' in said
        assert f'id="{field}-problem">{sentence}' in said
    gone = send(expert, address + "users", Name="nobody", new_name="somebody")
    assert "There is no login" in gone
    assert "<details open>" not in gone
    assert "Red room" in viewer.get(address + "computers").text
    # What cannot be kept is shown as it was typed, with the rest.
    settings = {"opening_hours": "Mo-Fr 8-18", "rooms": "a* = Lab", "strips_domain": "true"}
    said = send(admin, "/session-activity/settings", **settings, names_kept_months="0")
    for words in ("Write opening hours like", 'value="Mo-Fr 8-18"', ">a* = Lab<", 'value="0"'):
        assert words in said, words
    assert "from 1 to 120" in said
    assert "a* = Lab" not in admin.get(address + "users").text
    settings = {"opening_hours": "Mo-Fr 08:00-18:00", "rooms": "pink* = Pink room"}
    assert "are kept" in send(admin, "/session-activity/settings", **settings)
    assert "pink* = Pink room" in admin.get(address + "users").text
    for browser, path in ((viewer, address + "users"), (expert, "/session-activity/settings")):
        token = form_token(browser, "/session-activity/names/users")
        assert browser.post(path, data={"csrf_token": token}).status_code == 403


def test_names_of_another_company_are_not_shown_or_changed(
    sender: Sender, sender_for: Callable[..., Sender]
) -> None:
    stranger = sender_for("stranger")
    assert stranger.get("/users").json["data"] == []
    assert patch(stranger, "/users", Name="anna", is_off=True).status_code == 404


def test_the_board_is_searched_by_what_it_shows(
    stripped: Sender, client_for: Callable[[str], FlaskClient]
) -> None:
    stripped.post("/users", [{"Name": "ACME\\cleo"}])
    assert stripped.begin("s1", None, login="cleo", ip_addr="Host.Example:8080").status_code == 201
    page = client_for("owner")
    for search in ("ACME%5Ccleo", "acme%5CCLEO", "CLEO", "Host.Example", "Pink"):
        found = page.get(f"/session-activity/online.csv?search={search}").text
        assert found.count("cleo,pink0001") == 1, search
    assert "cleo" not in page.get("/session-activity/online.csv?search=ACME%5Canna").text
