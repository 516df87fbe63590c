"""The audit log's page: what its entries name, how it is searched, what its files hold."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openpyxl import load_workbook

from tests.conftest import find_scope
from webapp.accounts import audit
from webapp.extensions import db


@pytest.fixture
def entries(app: Flask) -> Callable[..., None]:
    """Return a writer of entries: `entries("owner", ("ran", "tally x"))`."""

    def write(who: str, *done: tuple[str, str]) -> None:
        with app.app_context():
            for action, subject in done:
                audit(find_scope(app, who), action, subject)
            db.session.commit()

    return write


def rows(text: str) -> list[str]:
    """Return the rows of the page's table as plain texts."""
    found = re.findall(r"<tr><td.*?</tr>", text, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def test_a_report_is_named_and_linked_while_it_is_there(
    owner: FlaskClient, run: Callable[..., str], entries: Callable[..., None]
) -> None:
    report_id = run(topic="pears")
    entries("owner", ("downloaded", f"tally pears {report_id} csv of things"))
    page = owner.get("/audit").text
    assert re.search(rf'<a href="/reports/{report_id}">Tally: pears[^<]*</a> csv of things', page)
    gone = "00000000-0000-4000-8000-000000000000"
    entries("owner", ("deleted", f"report {gone}"))
    assert f"report {gone}" in rows(owner.get("/audit").text)[0]


def test_a_report_of_another_company_is_not_named(
    client_for: Callable[[str], FlaskClient],
    run: Callable[..., str],
    entries: Callable[..., None],
) -> None:
    report_id = run(topic="pears")
    entries("stranger", ("ran", f"tally {report_id}"))
    assert "Tally: pears" not in client_for("stranger").get("/audit").text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "ran"}, ["tally apples"]),
        ({"q": "PEARS"}, ["tally pears"]),
        ({"person": "colleague"}, ["tally pears"]),
        ({"since": "2999-01-01"}, []),
        ({"until": "1999-01-01"}, []),
        ({"q": "50%"}, []),
        ({"since": "never", "person": "nobody", "q": ""}, ["tally pears", "tally apples"]),
    ],
)
def test_it_is_found_by_person_action_day_and_words(
    app: Flask,
    owner: FlaskClient,
    entries: Callable[..., None],
    query: dict[str, str],
    found: list[str],
) -> None:
    entries("owner", ("ran", "tally apples"))
    entries("colleague", ("cancelled", "tally pears"))
    if query.get("person") == "colleague":
        query = {"person": find_scope(app, "colleague").user_id}
    shown = " / ".join(rows(owner.get("/audit", query_string=query).text))
    assert re.findall(r"tally \w+", shown) == found
    text = owner.get("/audit.csv", query_string=query).data.decode("utf-8-sig")
    assert [row["subject"] for row in csv.DictReader(io.StringIO(text)) if "tally" in row["subject"]
            and row["action"] != "downloaded"] == found  # fmt: skip


def test_all_pages_of_it_are_in_the_files(
    owner: FlaskClient, entries: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr("webapp.accounts.audit_log.BATCH", 2)
    entries("owner", *(("noted", f"=thing {number}") for number in range(5)))
    expected = [f"=thing {number}" for number in (4, 3, 2, 1, 0)]
    asked = {"action": "noted"}
    as_json = owner.get("/audit.json", query_string=asked)
    assert [row["subject"] for row in as_json.get_json()] == expected
    assert as_json.get_json()[0]["person"] == "owner@example.com"
    text = owner.get("/audit.csv", query_string=asked).data.decode("utf-8-sig")
    assert [row["subject"] for row in csv.DictReader(io.StringIO(text))] == [
        f"'{one}" for one in expected
    ]
    file = tmp_path / "audit.xlsx"
    file.write_bytes(owner.get("/audit.xlsx", query_string=asked).data)
    [_, *lines] = load_workbook(file).active.values
    assert [line[3] for line in lines] == expected
    assert owner.get("/audit.json?action=never").get_json() == []


def test_what_is_asked_for_stays_from_page_to_page(
    owner: FlaskClient, entries: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.reports.audit_log.PAGE_SIZE", 2)
    entries("owner", *(("noted", f"thing {number}") for number in range(5)), ("ran", "tally"))
    seen: list[str] = []
    path = "/audit?action=noted"
    while path:
        page = owner.get(path).text
        seen += rows(page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert [re.search(r"thing \d", row)[0] for row in seen] == [  # type: ignore[index]
        f"thing {number}" for number in (4, 3, 2, 1, 0)
    ]
    for odd in ("/audit?before=x", "/audit?before=-1", "/audit?before=99999999999999999999"):
        assert owner.get(odd).status_code == 200


def test_the_log_and_its_files_are_an_admins(client_for: Callable[[str], FlaskClient]) -> None:
    for path in ("/audit", "/audit.csv", "/audit.json", "/audit.xlsx"):
        assert client_for("viewer").get(path).status_code == 403


def test_every_page_of_the_menu_is_there(owner: FlaskClient) -> None:
    menu = re.search(r'<div class="menu-panel">.*?</ul>', owner.get("/").text, re.DOTALL)
    assert menu
    links = re.findall(r'href="([^"]+)"', menu[0])
    assert "/audit" in links
    assert {link: owner.get(link).status_code for link in links} == dict.fromkeys(links, 200)
