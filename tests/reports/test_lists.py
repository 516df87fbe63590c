"""The list of reports and the list of stored months."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import find_scope
from webapp.engine.listing import list_reports
from webapp.engine.models import Report
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


def test_what_runs_refreshes_itself_and_what_has_ended_does_not(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient
) -> None:
    done = run()
    assert 'hx-trigger="every' not in owner.get("/").text
    active = start()
    page = owner.get("/").text
    row = page.partition(f'<tr id="report-{active}"')[2].partition(">")[0]
    assert f'hx-get="/reports/{active}/row" hx-trigger="every 3s"' in row
    assert "hx-get" not in page.partition(f'<tr id="report-{done}"')[2].partition(">")[0]
    partial = owner.get("/", headers=HTMX).text
    assert '<div class="now" id="now" hx-get="/" hx-trigger="every 3s"' in partial
    assert "<table" not in partial
    alone = owner.get(f"/reports/{active}/row", headers=HTMX).text
    assert alone.strip().startswith(f'<tr id="report-{active}"')


def test_home_says_what_runs_what_needs_a_hand_and_what_came_out(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient
) -> None:
    long = {"mode": "long", "start": "2024-01", "end": "2024-06"}
    start(topic="waiting"), run(topic="broken", holes=True), run(topic="whole", **long)
    page = owner.get("/").text
    running, open_, done = (
        page.partition(f'id="now-{name}"')[2].partition("</section>")[0]
        for name in ("active", "open", "done")
    )
    assert "Tally: waiting short" in running
    assert "Tally: broken short" in open_
    # Its first figure, and the course of the chart over months.
    assert "Tally: whole long" in done
    assert '<span class="brief-value">12</span>' in done
    assert "<polyline points=" in done
    # A search is about what is found.
    assert "now-active" not in owner.get("/?q=whole").text


def listed(page: str) -> list[str]:
    """Return the topics of the reports in the list."""
    table = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return re.findall(r">Tally: (\w+) ", table.replace("Choose Tally", ""))


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("q=pLums", ["plums"]),
        ("q=tally+pears", ["pears"]),
        ("q=100%25", []),
        ("tag=Board", ["pears"]),
        ("tag=Boa", []),
        ("q=quarterly", ["pears"]),
        ("favourites=1", ["apples"]),
        ("since=2020-01-01&until=2020-12-31", ["plums"]),
        ("since=nonsense", ["apples", "pears", "plums"]),
        ("order=oldest", ["plums", "pears", "apples"]),
    ],
)
def test_reports_are_found_by_words_days_tags_and_marks(
    app: Flask, start: Callable[..., str], owner: FlaskClient, post: Callable[..., Any],
    query: str, left: list[str],
) -> None:  # fmt: skip
    ids = {topic: start(topic=topic) for topic in ("plums", "pears", "apples")}
    with app.app_context():
        old = db.session.get_one(Report, ids["plums"])
        old.created_at = datetime(2020, 6, 1, tzinfo=UTC)
        db.session.commit()
    named = {"name": "Quarterly", "tags": "Board, board,  Harvest "}
    post(owner, f"/reports/{ids['pears']}/name", **named)
    post(owner, f"/reports/{ids['apples']}/favourite")
    page = owner.get(f"/?{query}").text.replace(">Quarterly<", ">Tally: pears <")
    assert listed(page) == left or sorted(set(listed(page))) == sorted(left)
    if query == "order=oldest":
        assert page.index(ids["plums"]) < page.index(ids["apples"])


def test_a_person_is_chosen_and_counts_stand_beside_the_choices(
    start: Callable[..., str], app: Flask, owner: FlaskClient
) -> None:
    start(topic="mine"), start(who="colleague", topic="theirs")
    colleague = find_scope(app, "colleague").user_id
    page = owner.get(f"/?person={colleague}").text
    assert "1 report found" in page
    assert "Tally: theirs" in page
    assert "Tally: mine" not in page
    assert "queued (2)" in page


def test_a_name_and_tags_are_shown_and_can_be_taken_away(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    here = f"/reports/{run()}"
    assert post(owner, f"{here}/name", name="For <Anna>", tags="a, b").status_code == 303
    page = owner.get(here).text
    assert "For &lt;Anna&gt;</h1>" in page
    assert '<a class="tag" href="/?tag=b">b</a>' in page
    refused = post(owner, f"{here}/name", name="x" * 121, tags="")
    assert refused.status_code == 422
    assert "Use at most 120 characters." in refused.text
    assert "x" * 121 in refused.text
    post(owner, f"{here}/name", name="", tags="")
    assert "Anna" not in owner.get(here).text


def test_chosen_reports_are_deleted_together(
    run: Callable[..., str], start: Callable[..., str], owner: FlaskClient,
    client_for: Callable[[str], FlaskClient], post: Callable[..., Any],
) -> None:  # fmt: skip
    gone, foreign, active = [run(), run()], run(who="stranger"), start()
    chosen = {"report": [*gone, foreign, active, "x"]}
    answer = post(owner, "/reports/delete", **chosen)
    page = owner.get(answer.location).text
    assert "2 reports are deleted. 2 could not be" in page
    assert all(f"/reports/{one}" not in page for one in gone)
    assert client_for("stranger").get(f"/reports/{foreign}").status_code == 200
    assert post(client_for("viewer"), "/reports/delete", report=[active]).status_code == 303
    assert f"/reports/{active}" in owner.get("/").text


def test_a_viewer_finds_the_place_of_a_kind(
    run: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    run()
    viewer = client_for("viewer")
    page = viewer.get("/kinds/tally").text
    assert "Tally: apples short" in page
    assert 'href="/kinds/tally" aria-current="page">Tally' in page
    assert "New report" not in page
    assert viewer.get("/kinds/nothing").status_code == 404


def test_one_search_finds_reports_kinds_and_settings(
    run: Callable[..., str], owner: FlaskClient, client_for: Callable[[str], FlaskClient]
) -> None:
    report_id = run(topic="quinces")
    found = owner.get("/search?q=quinces", headers=HTMX).text
    assert found.lstrip().startswith('<div id="found"')
    assert f'href="/reports/{report_id}"' in found
    assert 'href="/reports/new/tally"' in owner.get("/search?q=new tal").text
    assert 'href="/members"' in owner.get("/search?q=members", headers=HTMX).text
    assert "/members" not in client_for("viewer").get("/search?q=members", headers=HTMX).text
    assert "Nothing is called “zzz”." in owner.get("/search?q=zzz").text


def test_pages_follow_what_their_reader_likes(
    run: Callable[..., str], owner: FlaskClient, post: Callable[..., Any]
) -> None:
    here = f"/reports/{run()}"
    assert "1,111" in owner.get(here).text
    liked = {"theme": "dark", "numbers": "de", "zone": "Asia/Tokyo", "back": here}
    answer = post(owner, "/preferences", **liked)
    assert answer.location == here
    page = owner.get(here).text
    assert 'data-theme="dark" data-numbers="de"' in page
    assert "1.111" in page
    # 04:05 UTC.
    assert ">2025-02-03 13:05</time>" in page
    assert "(Tokyo)" in page
    odd = {"theme": "x", "numbers": "y", "zone": "Mars/Base", "back": "https://evil.example/"}
    assert post(owner, "/preferences", **odd).location == "/"
    assert '<html lang="en" data-numbers="en">' in owner.get(here).text


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
    assert "Expire" not in page.replace("First expires", "").replace("Expire them if", "")
    assert post(viewer, "/months/expire", kind="tally").status_code == 403
