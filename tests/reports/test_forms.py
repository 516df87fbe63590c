"""Starting a report from its form: prefilled, refused with a sentence per field, sent twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from tally import Tally

from tests.conftest import grant
from webapp.accounts import find_company, find_user
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.lib.months import (
    current_month,
    month_text,
    months_between,
    next_month,
    parse_month,
)

HTMX = {"HX-Request": "true"}
SECRET = "xyz-planted-secret-0815"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return found[1]


def test_the_form_has_a_widget_for_every_parameter(owner: FlaskClient) -> None:
    page = owner.get("/reports/new/tally").text
    assert (
        '<input type="text" autocomplete="off" spellcheck="false" value="" id="field-topic"' in page
    )
    assert '<input type="password"' in page
    assert '<input type="radio" name="mode" value="short" checked>' in page
    assert '<input type="month"' in page
    assert '<input type="checkbox" value="true"' in page
    assert '<option value="red" selected>Red</option>' in page
    assert "pause_ms" not in page


def test_the_form_says_whose_report_it_will_be(owner: FlaskClient, app: Flask) -> None:
    page = owner.get("/reports/new/tally").text
    assert "Company: <strong>Acme</strong>." in page
    with app.app_context():
        user, other = find_user("owner@example.com"), find_company("Other")
        assert user is not None
        assert other is not None
        grant(user, other, "expert")
    page = owner.get("/reports/new/tally").text
    assert "Company: <strong>Acme</strong>. For another one, switch at the top" in page


def test_a_report_starts_and_its_page_follows(owner: FlaskClient, post: Callable[..., Any]) -> None:
    answer = post(owner, "/reports/new/tally", topic="plums", mode="short", things="3")
    assert answer.status_code == 303
    page = owner.get(answer.location)
    assert "Tally: plums short" in page.text
    assert "queued" in page.text


def test_a_bad_form_comes_back_as_typed_with_a_sentence_per_field(
    owner: FlaskClient, post: Callable[..., Any]
) -> None:
    answer = post(
        owner,
        "/reports/new/tally",
        topic="",
        mode="long",
        start="2024-13",
        end="2025-02",
        again="true",
        things="many",
        secret=SECRET,
    )
    assert answer.status_code == 422
    page = answer.text
    assert '<a href="#field-topic">Topic</a>: This field is required.' in page
    assert '<a href="#field-start">First month</a>: Write the month as YYYY-MM' in page
    assert 'aria-describedby="topic-problem"' in page
    assert 'value="2024-13"' in page
    assert 'value="2025-02"' in page
    assert 'value="long" checked' in page
    assert 'value="many"' in page
    assert re.search(r'name="again"[^>]*checked', page)
    assert SECRET not in page


def test_fields_of_another_choice_do_not_count(
    owner: FlaskClient, post: Callable[..., Any]
) -> None:
    answer = post(owner, "/reports/new/tally", topic="figs", mode="short", start="nonsense")
    assert answer.status_code == 303


def test_a_form_sent_twice_makes_one_report(
    app: Flask, owner: FlaskClient, post: Callable[..., Any]
) -> None:
    once = hidden(owner.get("/reports/new/tally").text, "once")
    first = post(owner, "/reports/new/tally", topic="pears", mode="short", once=once)
    second = post(owner, "/reports/new/tally", topic="pears", mode="short", once=once)
    changed = post(owner, "/reports/new/tally", topic="limes", mode="short", once=once)
    assert first.location == second.location
    assert changed.status_code == 303
    assert changed.location != first.location
    with app.app_context():
        assert db.session.query(Report).count() == 2


def test_run_again_fills_in_an_earlier_report(run: Callable[..., str], owner: FlaskClient) -> None:
    report_id = run(topic="kiwis", mode="long", start="2024-02", end="2024-05", secret=SECRET)
    page = owner.get(f"/reports/new/tally?from={report_id}").text
    assert 'value="kiwis"' in page
    assert 'value="2024-02"' in page
    assert 'value="long" checked' in page
    assert SECRET not in page


def test_the_address_fills_in_fields_but_never_a_secret(owner: FlaskClient) -> None:
    page = owner.get(f"/reports/new/tally?topic=dates&secret={SECRET}").text
    assert 'value="dates"' in page
    assert SECRET not in page


def test_nobody_is_filled_in_from_another_company(
    run: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    report_id = run(topic="kiwis")
    answer = client_for("stranger").get(f"/reports/new/tally?from={report_id}")
    assert answer.status_code == 404
    assert "kiwis" not in answer.text


def test_an_estimate_is_a_sentence(owner: FlaskClient, post: Callable[..., Any]) -> None:
    path = "/reports/new/tally/estimate"
    said = "About 1,234 calls to come, 240 saved by stored months: about 2 minutes"
    partial = post(owner, path, headers=HTMX, topic="pears", mode="short")
    assert said in partial.text
    assert "<html" not in partial.text
    page = post(owner, path, topic="pears", mode="short", secret=SECRET)
    assert page.status_code == 200
    assert said in page.text
    assert 'value="pears"' in page.text
    assert SECRET not in page.text


def test_an_estimate_says_what_is_missing(owner: FlaskClient, post: Callable[..., Any]) -> None:
    path = "/reports/new/tally/estimate"
    partial = post(owner, path, headers=HTMX, topic="", mode="short")
    assert partial.status_code == 422
    assert "This field is required." in partial.text
    away = post(owner, path, headers=HTMX, topic="away", mode="short")
    assert "The partner does not answer at the moment." in away.text
    assert "does not answer" in post(owner, path, topic="away", mode="short").text


def test_a_form_without_its_token_is_refused(owner: FlaskClient) -> None:
    answer = owner.post("/reports/new/tally", data={"topic": "pears"})
    assert answer.status_code == 400
    assert "send it again" in answer.text
    partial = owner.post("/reports/new/tally", data={"topic": "pears"}, headers=HTMX)
    assert partial.status_code == 400
    assert partial.headers["HX-Retarget"] == "#messages"


def test_an_unknown_kind_is_not_found(owner: FlaskClient) -> None:
    assert owner.get("/reports/new/nothing").status_code == 404


def test_a_viewer_may_not_start_one(
    client_for: Callable[[str], FlaskClient], post: Callable[..., Any]
) -> None:
    viewer = client_for("viewer")
    assert post(viewer, "/reports/new/tally", topic="pears").status_code == 403
    assert viewer.get("/reports/new").status_code == 403


def test_a_typed_secret_is_kept_sealed_for_the_next_try(
    app: Flask, owner: FlaskClient, client_for: Callable[[str], FlaskClient],
    post: Callable[..., Any],
) -> None:  # fmt: skip
    typed = {"topic": "", "secret": "xyz-planted-secret-0815", "mode": "short", "things": "3"}
    refused = post(owner, "/reports/new/tally", **typed)
    assert refused.status_code == 422
    assert "xyz-planted" not in refused.text
    assert "is kept, encrypted" in refused.text
    kept = re.search(r'name="kept" value="([^"]+)"', refused.text)
    assert kept
    again = typed | {"topic": "locked", "secret": "", "kept": kept[1]}
    assert post(owner, "/reports/new/tally", **again).status_code == 303
    # It is nobody else's, and none of another form.
    assert post(client_for("colleague"), "/reports/new/tally", **again).status_code == 422
    assert post(owner, "/reports/new/tally", **again | {"kept": "nonsense"}).status_code == 422


def test_spans_of_months_are_one_click_and_keep_what_is_typed(
    owner: FlaskClient, post: Callable[..., Any]
) -> None:
    page = owner.get("/reports/new/tally").text
    preset = re.search(r'name="preset" value="([0-9-]+):([0-9-]+)"[^>]*>Last 12 months<', page)
    assert preset
    assert len(months_between(parse_month(preset[1]), parse_month(preset[2]))) == 12
    sent = {"topic": "plums", "mode": "long", "preset": f"{preset[1]}:{preset[2]}"}
    filled = post(owner, "/reports/new/tally/estimate", **sent).text
    assert f'value="{preset[1]}"' in filled
    assert f'value="{preset[2]}"' in filled
    assert 'value="plums"' in filled


def test_a_report_runs_again_with_its_months_moved_on(
    run: Callable[..., str], app: Flask, owner: FlaskClient, post: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    report_id = run(mode="long", start="2024-01", end="2024-03")
    # Its secret was erased, so the form asks for it; all else is filled in.
    form = post(owner, f"/reports/{report_id}/again")
    last = month_text(next_month(current_month(), -1))
    assert f"end={last}" in form.location
    assert f'value="{last}"' in owner.get(form.location).text
    monkeypatch.setattr(Tally, "secret_params", frozenset())
    again = post(owner, f"/reports/{report_id}/again")
    assert again.status_code == 303
    with app.app_context():
        made = db.session.get_one(Report, again.location.rsplit("/", 1)[1])
        start, end = parse_month(made.params["start"]), parse_month(made.params["end"])
        assert month_text(end) == last
        assert len(months_between(start, end)) == 3


def test_the_estimate_that_comes_by_itself_is_quiet_while_something_is_missing(
    owner: FlaskClient, post: Callable[..., Any]
) -> None:
    address = "/reports/new/tally/estimate?quiet=1"
    headers = {"HX-Request": "true"}
    early = post(owner, address, headers=headers, topic="", mode="short")
    assert (early.status_code, "flash" in early.text) == (200, False)
    ready = post(owner, address, headers=headers, topic="plums", mode="short", things="3")
    assert "About 1,234 calls" in ready.text
