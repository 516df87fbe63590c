"""A locked month stays as it was paid; what changes in it is paid, or taken back, in the next."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from flask import Flask
from test_label_revenue_pages import send

from tests.conftest import form_token
from webapp.accounts import Scope, create_user, scope_of
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.kinds.label_revenue import closing, loads
from webapp.kinds.label_revenue.periods import locked_periods, states_of
from webapp.kinds.label_revenue.report import payouts
from webapp.kinds.label_revenue.report.breakdown import month_rows
from webapp.kinds.label_revenue.report.compute import METHODS
from webapp.lib.months import current_month

FEBRUARY, MARCH, APRIL, MAY = (date(2025, month, 1) for month in (2, 3, 4, 5))
STREAM = {"date": "2025-03-05", "user_id": 1001, "region": "NL", "track_id": "T-504"}


def paid(app: Flask, scope: Scope, month: date, method: Any = "pool") -> dict[str, int]:
    with app.app_context():
        owed: dict[str, int] = {}
        for key, minor in payouts.payer(scope.company_id, method).month(month).owed():
            owed[key.name] = owed.get(key.name, 0) + minor
        return owed


def lock(app: Flask, scope: Scope, month: date) -> None:
    with app.app_context():
        for state in ("calculated", "approved", "locked"):
            closing.advance(scope.company_id, month, state, scope)


@pytest.mark.parametrize("method", METHODS)
def test_a_change_in_a_locked_month_is_paid_in_the_next(
    app: Flask, scope: Scope, sample: str, api_for: Any, method: str
) -> None:
    api = api_for("owner")
    before = paid(app, scope, MARCH, method)
    lock(app, scope, MARCH)
    assert api.post("/streams", STREAM | {"seconds": 500}).status_code == 201
    assert paid(app, scope, MARCH, method) == before
    # Nor in an earlier month that is open.
    assert paid(app, scope, FEBRUARY, method) == {}
    due = paid(app, scope, APRIL, method)
    assert due["Quiet Street"] > 0 > due["Harbour Classics"]
    assert sum(due.values()) == 0
    with app.app_context():
        live = payouts.payer(scope.company_id, method).live(MARCH)  # type: ignore[arg-type]
        now = {line.key.name: line.minor for line in live.payout.lines}
    assert {name: before.get(name, 0) + due.get(name, 0) for name in now} == now


def test_an_adjustment_is_paid_once_also_when_the_next_month_is_locked(
    app: Flask, scope: Scope, sample: str, api_for: Any
) -> None:
    api = api_for("owner")
    lock(app, scope, MARCH)
    api.post("/streams", STREAM | {"seconds": 500})
    api.post("/streams", STREAM | {"seconds": 10, "date": "2025-04-05"})
    first = paid(app, scope, APRIL)
    lock(app, scope, APRIL)
    assert paid(app, scope, APRIL) == first
    assert paid(app, scope, MAY) == {}
    api.post("/streams", STREAM | {"seconds": 700})
    assert sum(paid(app, scope, MAY).values()) == 0
    assert paid(app, scope, MAY)["Quiet Street"] > 0


def test_the_report_names_adjustments(app: Flask, scope: Scope, sample: str, api_for: Any) -> None:
    api = api_for("owner")
    lock(app, scope, MARCH)
    api.post("/streams", STREAM | {"seconds": 500})
    assert api.get("/report?month=2025-03").json["data"]["Quiet Street"] == 9.11
    assert api.get("/report?month=2025-04").json["data"]["Quiet Street"] > 0


def test_only_closed_months_with_streams_are_locked_and_only_once(
    app: Flask, scope: Scope, sample: str
) -> None:
    with pytest.raises(Conflict, match="not over"):
        lock(app, scope, current_month())
    with pytest.raises(Conflict, match="no streams"):
        lock(app, scope, MAY)
    lock(app, scope, MARCH)
    with pytest.raises(Conflict, match="already"):
        lock(app, scope, MARCH)


def test_a_stored_month_expires_with_a_later_change(
    app: Flask, scope: Scope, sample: str, api_for: Any
) -> None:
    with app.app_context():
        assert not payouts.payer(scope.company_id, "pool").month(MARCH).from_store
        db.session.remove()
        assert payouts.payer(scope.company_id, "pool").month(MARCH).from_store
        db.session.remove()
    api_for("owner").post("/streams", STREAM | {"seconds": 500})
    with app.app_context():
        assert not payouts.payer(scope.company_id, "pool").month(MARCH).from_store


LATER = "user_id;product_type;fee;origin\n2;premium;10,00;web\n"


def test_terms_told_later_change_the_earlier_months_their_listeners_streamed_in(
    app: Flask, scope: Scope, load_texts: Any, api_for: Any
) -> None:
    head = "date;user_id;region;track id;seconds\n"
    load_texts(
        users="user_id;product_type;fee;origin\n1;premium;10,00;web\n",
        streams=head + "13/03/2025;1;NL;A;100\n13/03/2025;2;NL;B;300\n13/05/2025;1;NL;A;10",
        tracks='[{"track_id": "A", "label": "One"}, {"track_id": "B", "label": "Two"}]',
    )
    lock(app, scope, MAY)
    api = api_for("owner")
    assert api.get("/report?month=2025-03").json["data"] == {"One": 2.25}
    told = load_texts(users=LATER)
    assert api.get("/report?month=2025-03").json["data"] == {"One": 4.5, "Two": 13.5}
    lock(app, scope, MARCH)
    with app.app_context():
        marks = {mark.month: mark.changed for mark in locked_periods(scope.company_id)}
        # The listener streamed in March only, so nothing is said of May.
        assert marks == {MARCH: False, MAY: False}
        loads.unload(scope.company_id, told.batch.id)
    assert sum(paid(app, scope, MARCH).values()) == 1800
    assert sum(paid(app, scope, APRIL).values()) == -900


def test_adjustments_are_shown_where_their_month_has_no_streams(
    app: Flask, scope: Scope, sample: str, api_for: Any, client_for: Any
) -> None:
    api = api_for("owner")
    lock(app, scope, MARCH)
    api.post("/streams", STREAM | {"seconds": 500})
    in_all = api.get("/report").json["data"]
    assert in_all == api.get("/report?from=2025-03&to=2025-04").json["data"]
    assert in_all["Quiet Street"] > 9.11
    overview = client_for("owner").get("/label-revenue").text
    assert "/label-revenue/compare?from=2025-04" in overview
    assert "2025-04" in client_for("owner").get("/label-revenue/compare").text
    # It is a month like others, so it can be locked as it was paid.
    due = paid(app, scope, APRIL)
    lock(app, scope, APRIL)
    assert paid(app, scope, APRIL) == due
    assert paid(app, scope, MAY) == {}


def test_an_adjustment_keeps_the_currency_of_its_month(
    app: Flask, scope: Scope, sample: str, api_for: Any, client_for: Any
) -> None:
    api, owner = api_for("owner"), client_for("owner")
    lock(app, scope, MARCH)
    shares = {"share_web": "1", "share_app_store": "1"}
    token = {"csrf_token": form_token(owner), "from_month": "2025-04", "currency": "JPY"}
    assert owner.post("/label-revenue/periods", data=token | shares).status_code == 303
    api.post("/streams", STREAM | {"seconds": 500})
    # Nothing was streamed in April, so what it owes is in the money of March.
    assert api.get("/report?month=2025-04").headers["Report-Currency"] == "EUR"
    assert api.get("/report").status_code == 200
    api.post("/streams", STREAM | {"seconds": 10, "date": "2025-04-05"})
    april = api.get("/report?month=2025-04")
    assert (april.status_code, april.json["data"]) == (200, {"Quiet Street": 54})
    assert april.headers["Report-Currency"] == "JPY"
    assert april.headers["Report-Other-Currencies"] == "EUR"
    with app.app_context():
        month = payouts.payer(scope.company_id, "pool").month(APRIL)
        assert sum(due.minor for due in month.foreign) == 0
        texts = {due.key.name: due.amount for due in month.foreign}
        rows = [row for row in month_rows(month) if row["kind"] == "adjustment"]
    assert f"adjustment of 2025-03: {texts['Quiet Street']}" in [row["note"] for row in rows]
    assert {row["amount"] for row in rows} == {None}
    assert texts["Quiet Street"] in owner.get("/label-revenue/compare?from=2025-04").text
    for label in ("Quiet Street", "Harbour Classics"):
        path = f"/label-revenue/statement?label={label}&from=2025-04"
        assert owner.get(path).status_code == 200
    lock(app, scope, APRIL)
    with app.app_context():
        assert payouts.payer(scope.company_id, "pool").month(APRIL).foreign == month.foreign
        assert not payouts.payer(scope.company_id, "pool").month(MAY).pays
    api.post("/streams", STREAM | {"seconds": 10, "date": "2025-05-05"})
    with app.app_context():
        assert payouts.payer(scope.company_id, "pool").month(MAY).foreign == ()


def test_the_newest_locked_month_can_be_opened_again(
    app: Flask, scope: Scope, sample: str, api_for: Any, client_for: Any
) -> None:
    api = api_for("owner")
    lock(app, scope, MARCH)
    api.post("/streams", STREAM | {"seconds": 500})
    with app.app_context():
        now = payouts.payer(scope.company_id, "pool").live(MARCH)
    lock(app, scope, APRIL)

    def back(name: str, month: str, reason: str = "too early") -> str:
        client = client_for(name)
        data = {"csrf_token": form_token(client), "reason": reason}
        path = f"/label-revenue/months/{month}/back"
        answer = client.post(path, data=data, follow_redirects=True)
        return str(answer.text) if answer.status_code == 200 else str(answer.status_code)

    assert back("colleague", "2025-04") == "403"
    assert back("owner", "2025-04", " ") == "422"
    assert "unlock that one first" in back("owner", "2025-03")
    assert "is approved again" in back("owner", "2025-04")
    assert "is calculated again" in back("owner", "2025-04")
    assert "is open again" in back("owner", "2025-04")
    assert "is open already" in back("owner", "2025-04")
    assert paid(app, scope, APRIL)["Quiet Street"] > 0
    # It changed since it was approved, so it is open at once.
    page = back("owner", "2025-03", "a wrong file")
    assert "is open again" in page
    assert "a wrong file" in page
    assert paid(app, scope, MARCH) == {key.name: minor for key, minor in now.owed()}
    assert paid(app, scope, APRIL) == {}
    assert "took locked month back" in client_for("owner").get("/audit").text


def state(app: Flask, scope: Scope, month: date) -> str:
    with app.app_context():
        return states_of(scope.company_id).get(month, "open")


def step(app: Flask, scope: Scope, month: date, state: str) -> None:
    with app.app_context():
        closing.advance(scope.company_id, month, state, scope)


def test_a_month_goes_step_by_step_until_it_is_paid(
    app: Flask, scope: Scope, sample: str, client_for: Any
) -> None:
    with pytest.raises(Conflict, match="cannot become locked"):
        step(app, scope, MARCH, "locked")
    owner = client_for("owner")
    for wanted in ("calculated", "approved", "locked", "paid"):
        assert send(owner, f"/label-revenue/months/2025-03/{wanted}").status_code == 303
        assert state(app, scope, MARCH) == wanted
    page = owner.get("/label-revenue/months/2025-03").text
    assert page.count("owner@") >= 4
    assert "Mark as paid" not in page
    assert send(client_for("colleague"), "/label-revenue/months/2025-03/paid").status_code == 403
    assert client_for("owner").get("/label-revenue/months/2024-01").status_code == 404


def test_another_admin_approves_where_there_is_one(app: Flask, scope: Scope, sample: str) -> None:
    with app.app_context():
        second = create_user("second@example.com", "Acme", "admin", "correct horse battery")
        db.session.commit()
        other = scope_of(second, scope.company_id)
    assert other is not None
    step(app, scope, MARCH, "calculated")
    with pytest.raises(Conflict, match="Another admin"):
        step(app, scope, MARCH, "approved")
    step(app, other, MARCH, "approved")
    assert state(app, scope, MARCH) == "approved"


def test_what_changes_after_it_was_calculated_opens_a_month_again(
    app: Flask, scope: Scope, sample: str, api_for: Any
) -> None:
    api = api_for("owner")
    step(app, scope, MARCH, "calculated")
    step(app, scope, MARCH, "approved")
    api.post("/streams", STREAM | {"seconds": 10, "date": "2025-04-05"})
    assert state(app, scope, MARCH) == "approved"
    api.post("/streams", STREAM | {"seconds": 500})
    assert state(app, scope, MARCH) == "open"
    lock(app, scope, MARCH)
    step(app, scope, APRIL, "calculated")
    # April would pay the adjustment of March.
    api.post("/streams", STREAM | {"seconds": 600})
    assert (state(app, scope, MARCH), state(app, scope, APRIL)) == ("locked", "open")


def test_an_adjustment_says_why_and_where_to_look(
    app: Flask, scope: Scope, sample: str, api_for: Any, client_for: Any
) -> None:
    lock(app, scope, MARCH)
    api_for("owner").post("/streams", STREAM | {"seconds": 500})
    with app.app_context():
        month = payouts.payer(scope.company_id, "pool").month(APRIL)
        rows = [row for row in month_rows(month) if row["kind"] == "adjustment"]
    assert {row["reason"] for row in rows} == {"stored streams 1"}
    assert {row["link"] for row in rows} == {"/label-revenue/months/2025-03"}
    lock(app, scope, APRIL)
    with app.app_context():
        again = payouts.payer(scope.company_id, "pool").month(APRIL)
    assert again.adjustments == month.adjustments
    page = client_for("viewer").get("/label-revenue/months/2025-03").text
    assert "stored streams 1" in page
    assert "Its data changed after it was locked" in page


def test_an_adjustment_names_three_causes_and_counts_the_rest(
    app: Flask, scope: Scope, sample: str, api_for: Any
) -> None:
    lock(app, scope, MARCH)
    causes = "stored streams 1; stored streams 2; stored streams 3"
    for count, said in (
        (1, causes[:16]),
        (2, causes[:34]),
        (3, causes),
        (4, f"{causes} and 1 more"),
    ):
        api_for("owner").post("/streams", [STREAM | {"seconds": 500}] * count)
        with app.app_context():
            due = payouts.payer(scope.company_id, "pool").month(APRIL).adjustments
        assert {one.reason for one in due} == {said}
