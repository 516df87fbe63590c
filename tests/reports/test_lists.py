"""The list of reports and the list of stored months."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import find_scope
from webapp.engine.listing import list_reports
from webapp.engine.months import MonthStore, stored_overview
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.moments import utcnow

HTMX = {"HX-Request": "true"}


def test_a_new_company_is_told_how_to_begin(owner: FlaskClient) -> None:
    page = owner.get("/").text
    assert "There is no report yet." in page
    assert 'href="/reports/new/tally"' in page


def test_reports_are_listed_newest_first_with_who_and_how(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient
) -> None:
    ids = [run(topic="first"), start(who="colleague", topic="second")]
    page = owner.get("/").text
    assert page.index(ids[1]) < page.index(ids[0])
    assert "colleague@example.com" in page
    assert "Tally: first short" in page
    assert 'class="badge is-done"' in page
    assert 'class="badge is-queued"' in page


def test_the_list_refreshes_itself_only_while_something_runs(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient
) -> None:
    run()
    assert "hx-trigger" not in owner.get("/").text
    start()
    assert 'hx-trigger="every 3s"' in owner.get("/").text
    partial = owner.get("/", headers=HTMX).text
    assert partial.lstrip().startswith('<div id="reports"')


def test_the_list_is_filtered_by_status(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient
) -> None:
    done, queued = run(), start()
    page = owner.get("/?status=done").text
    assert done in page
    assert queued not in page
    assert "No report matches." in owner.get("/?status=failed").text
    assert owner.get("/?status=nonsense&kind=nothing").status_code == 200


def test_a_long_list_has_pages_that_neither_repeat_nor_skip(
    start: Callable[..., str], owner: FlaskClient
) -> None:
    made = {start() for _ in range(25)}
    first = owner.get("/").text
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = owner.get(older[1].replace("&amp;", "&")).text
    pages = [set(re.findall(r'href="/reports/([0-9a-f-]{36})"', page)) for page in (first, second)]
    assert len(pages[0]) == 20
    assert pages[0] | pages[1] == made
    assert not pages[0] & pages[1]


def test_a_broken_cursor_is_a_sentence(app: Flask, owner: FlaskClient) -> None:
    for cursor in ("x", "é", "AAAA", "MjAyNS0wMS0wMQ"):
        assert owner.get("/", query_string={"cursor": cursor}).status_code == 422
    scope = find_scope(app, "owner")
    with app.app_context():
        for wrong in ({"kind": "x"}, {"status": "x"}, {"limit": 0}, {"limit": 101}):
            with pytest.raises(InvalidParams) as caught:
                list_reports(scope, **wrong)  # type: ignore[arg-type]
            assert set(caught.value.errors) == set(wrong)


def store(app: Flask, who: str, subject: str) -> None:
    company_id = find_scope(app, who).company_id
    with app.app_context():
        months = MonthStore(db.engine, company_id, "tally", 30)
        values = [("s1", date(2024, month, 1), 5, utcnow()) for month in range(1, 7)]
        months.save(subject, values)


def stored(app: Flask, who: str) -> dict[str, int]:
    company_id = find_scope(app, who).company_id
    with app.app_context():
        return {row["subject"]: row["values"] for row in stored_overview(company_id)}


def test_stored_months_are_listed_for_the_own_company(app: Flask, owner: FlaskClient) -> None:
    assert "Nothing is stored." in owner.get("/months").text
    store(app, "owner", "70000001")
    store(app, "stranger", "70000009")
    page = owner.get("/months").text
    assert "70000001" in page
    assert "2024-01 to 2024-06" in page
    assert "70000009" not in page


def test_a_subject_expires_alone(app: Flask, owner: FlaskClient, post: Callable[..., Any]) -> None:
    for subject in ("70000001", "70000002"):
        store(app, "owner", subject)
    answer = post(owner, "/months/expire", kind="tally", subject="70000001")
    assert answer.status_code == 303
    assert "6 stored values expired" in owner.get(answer.location).text
    assert stored(app, "owner") == {"70000002": 6}


def test_a_span_of_months_expires(app: Flask, owner: FlaskClient, post: Callable[..., Any]) -> None:
    store(app, "owner", "70000001")
    store(app, "stranger", "70000001")
    post(owner, "/months/expire", **{"from": "2024-02", "to": "2024-03"})
    assert stored(app, "owner") == {"70000001": 4}
    assert stored(app, "stranger") == {"70000001": 6}


def test_a_bad_span_expires_nothing_and_comes_back_as_typed(
    app: Flask, owner: FlaskClient, post: Callable[..., Any]
) -> None:
    store(app, "owner", "70000001")
    answer = post(owner, "/months/expire", **{"from": "2024-05", "to": "2024-02"})
    assert answer.status_code == 422
    assert "The last month is before the first month." in answer.text
    assert 'value="2024-05"' in answer.text
    assert post(owner, "/months/expire", **{"from": "May 2024"}).status_code == 422
    assert stored(app, "owner") == {"70000001": 6}


def test_a_viewer_sees_stored_months_and_may_not_expire_them(
    app: Flask, client_for: Callable[[str], FlaskClient], post: Callable[..., Any]
) -> None:
    store(app, "owner", "70000001")
    viewer = client_for("viewer")
    page = viewer.get("/months").text
    assert "70000001" in page
    assert "Expire" not in page.replace("First expires", "").replace("Expire it when", "")
    assert post(viewer, "/months/expire", kind="tally").status_code == 403
