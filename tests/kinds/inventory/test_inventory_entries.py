"""Entries, periods and units as programs send them: idempotent by id, all or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.kinds.inventory.inventory_helpers import DATA, UNITS, Caller, entry, make_demo_for
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.kinds.inventory import places
from webapp.kinds.inventory.bodies import PeriodIn, UnitIn
from webapp.kinds.inventory.entries import check_all, find_entry, store
from webapp.kinds.inventory.models import Unit

Callers = Callable[[str], Caller]
ENTRIES = f"{DATA}/entries"


@pytest.fixture
def ours(acme: str, caller: Callers) -> Caller:
    return caller("owner")


def test_the_same_list_again_changes_nothing(ours: Caller) -> None:
    body = [entry(id="a"), entry(id="b", scope=3)]
    assert ours.post(ENTRIES, body).json == {"created": 2, "updated": 0, "unchanged": 0}
    assert ours.post(ENTRIES, body).json == {"created": 0, "updated": 0, "unchanged": 2}
    body[1]["quantity"] = 11
    assert ours.post(ENTRIES, {"entries": body}).json == {
        "created": 0,
        "updated": 1,
        "unchanged": 1,
    }


def test_emissions_are_quantity_times_factor(ours: Caller) -> None:
    ours.post(ENTRIES, [entry(id="zz", quantity=1234.5, emission_factor=0.233)])
    (found,) = [one for one in ours.get(ENTRIES, limit=1000).json["entries"] if one["id"] == "zz"]
    assert found["emissions"] == 287.6385
    assert (found["quantity"], found["emission_factor"]) == (1234.5, 0.233)
    assert (found["start_date"], found["end_date"]) == ("2025-01-01", "2025-12-31")


def test_names_may_be_camel_case(ours: Caller) -> None:
    body = {
        "id": "c",
        "periodId": "2025",
        "unitId": "Lyon office",
        "scope": "Scope 2",
        "category": "Heat",
        "quantity": 1,
        "unitOfMeasure": "kWh",
        "emissionFactor": 2,
        "factorSource": "ours",
        "startDate": "2025-03-01",
        "endDate": "2025-03-31",
    }
    assert ours.post(ENTRIES, [body]).json["created"] == 1


WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"id": ""}, "id"),
    ({"id": "x" * 65}, "id"),
    ({"id": "\x00"}, "id"),
    ({"scope": 4}, "scope"),
    ({"scope": True}, "scope"),
    ({"quantity": "1,5"}, "quantity"),
    ({"quantity": "NaN"}, "quantity"),
    ({"quantity": True}, "quantity"),
    ({"quantity": "1e400"}, "quantity"),
    ({"quantity": "1e999999999"}, "quantity"),
    ({"quantity": "1000000000000000000"}, "quantity"),
    ({"emission_factor": None}, "emission_factor"),
    ({"period_id": "1999"}, "period_id"),
    ({"unit_id": str(uuid4())}, "unit_id"),
    ({"start_date": "2024-12-31"}, "start_date"),
    ({"end_date": "2026-01-01"}, "end_date"),
    ({"start_date": "2025-05-02", "end_date": "2025-05-01"}, "end_date"),
    ({"start_date": "May"}, "start_date"),
    ({"category": ""}, "category"),
    ({"emissions_total": 5}, "emissions_total"),
)


def test_a_wrong_value_is_named_and_nothing_is_stored(ours: Caller) -> None:
    for change, name in WRONG:
        answer = ours.post(ENTRIES, [entry(id="good"), entry(id="bad") | change])
        assert answer.status_code == 422, (change, answer.text)
        assert list(answer.json["errors"]) == [f"entries.1.{name}"], change
    answer = ours.post(ENTRIES, [entry(id="good")])
    assert answer.json["created"] == 1


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (3.3333333333333335, 3.333333333333),
        ("3.3000000000000003", 3.3),
        ("0.0000000000001", 0),
        ("1e-999999999", 0),
    ],
)
def test_numbers_are_rounded_to_the_places_that_are_kept(
    ours: Caller, sent: Any, stored: float
) -> None:
    assert ours.post(ENTRIES, [entry(id="a", quantity=sent)]).json["created"] == 1
    found = {one["id"]: one["quantity"] for one in ours.get(ENTRIES, limit=1000).json["entries"]}
    assert found["a"] == stored


def test_an_id_twice_in_a_list_is_refused(ours: Caller) -> None:
    answer = ours.post(ENTRIES, [entry(), entry(quantity=1)])
    assert answer.json["errors"] == {"entries.1.id": "This id came before, at entries.0."}


def test_bodies_that_are_no_lists(ours: Caller) -> None:
    for body in ({}, {"entries": {}}, "x", 5, None):
        assert ours.post(ENTRIES, body).status_code in {400, 415, 422}
    answer = ours.send("POST", ENTRIES, data=b"[NaN]", content_type="application/json")
    assert answer.status_code == 400
    deep = b"[" * 100_000
    assert ours.send("POST", ENTRIES, data=deep, content_type="application/json").status_code == 400
    assert ours.post(ENTRIES, [5]).status_code == 422
    assert ours.post(ENTRIES, [{}] * 10_001).status_code == 422
    assert ours.send("POST", ENTRIES, data=b"[]").status_code == 415


def period_body(ours: Caller, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = ours.get(f"{DATA}/periods").json["periods"][0]
    return body | more


def test_a_locked_period_keeps_its_entries(ours: Caller) -> None:
    assert ours.post(ENTRIES, [entry()]).status_code == 200
    locked = period_body(ours, is_locked=True)
    assert ours.post(f"{DATA}/periods", [locked]).json["periods"][0]["is_locked"] is True
    answer = ours.post(ENTRIES, [entry(id="new")])
    assert set(answer.json["errors"]) == {"entries.0.period_id"}
    moved = entry(period_id="2024")
    assert ours.post(ENTRIES, [moved]).status_code == 409
    assert ours.delete(f"{ENTRIES}/e-1").status_code == 409
    ours.post(f"{DATA}/periods", [locked | {"is_locked": False}])
    assert ours.delete(f"{ENTRIES}/e-1").status_code == 204
    assert ours.delete(f"{ENTRIES}/e-1").status_code == 404


def test_a_change_is_kept_with_what_the_audit_log_says_of_it_or_not_at_all(
    app: Flask, acme: str
) -> None:
    year = {"short_name": "1999", "start_date": "1999-01-01", "end_date": "1999-12-31"}
    with app.app_context():
        places.put_periods(acme, [PeriodIn.model_validate(year)])
        places.put_units(acme, [UnitIn(name="Elsewhere")])
        store(acme, check_all(acme, [entry(id="gone")]))
        db.session.rollback()
        assert "1999" not in {one.short_name for one in places.list_periods(acme)}
        assert "Elsewhere" not in {unit.name for unit, _ in places.read_tree(acme).walk()}
        with pytest.raises(NotFound):
            find_entry(acme, "gone")


def test_only_what_was_sent_of_a_known_period_is_changed(ours: Caller) -> None:
    period = period_body(ours, is_locked=True, description="Ours")
    ours.post(f"{DATA}/periods", [period])
    named = {"id": period["id"], "shortName": "FY 2025"}
    days = {"startDate": period["start_date"], "endDate": period["end_date"]}
    answer = ours.post(f"{DATA}/periods", [named | days])
    assert answer.json["periods"] == [period | {"short_name": "FY 2025"}]
    answer = ours.post(f"{DATA}/periods", [named | days | {"isLocked": False, "description": None}])
    assert answer.json["periods"][0]["is_locked"] is False
    assert answer.json["periods"][0]["description"] is None


def test_only_what_was_sent_of_a_known_unit_is_changed(ours: Caller) -> None:
    units = ours.get(f"{DATA}/units").json["units"]
    (lyon,) = [unit for unit in units if unit["name"] == "Lyon office"]
    assert lyon["position"] == 2
    answer = ours.post(f"{DATA}/units", [{"id": lyon["id"], "name": "Lyon"}])
    assert answer.json["units"] == [lyon | {"name": "Lyon"}]
    answer = ours.post(f"{DATA}/units", [{"id": lyon["id"], "name": "Lyon", "parent_id": None}])
    assert answer.json["units"][0]["parent_id"] == units[0]["id"]


def test_the_demo_leaves_a_locked_period_as_it_is(app: Flask, caller: Callers) -> None:
    make_demo_for(app, "stranger")
    theirs = caller("stranger")
    changed = theirs.get(ENTRIES, limit=1000).json["entries"][-1] | {"quantity": 7}
    del changed["emissions"]
    assert theirs.post(ENTRIES, [changed]).status_code == 200
    theirs.post(f"{DATA}/periods", [period_body(theirs, is_locked=True)])
    make_demo_for(app, "stranger")
    assert period_body(theirs)["is_locked"] is True
    assert theirs.get(ENTRIES, limit=1000).json["entries"][-1]["quantity"] == 7


def test_a_period_does_not_shrink_away_from_its_entries(ours: Caller) -> None:
    answer = ours.post(f"{DATA}/periods", [period_body(ours, start_date="2025-06-01")])
    assert set(answer.json["errors"]) == {"periods.0.start_date"}
    assert (
        ours.post(f"{DATA}/periods", [period_body(ours, end_date="2026-03-31")]).status_code == 200
    )


def test_periods_that_cannot_be(ours: Caller) -> None:
    body = {"short_name": "X", "start_date": "2020-02-01", "end_date": "2020-01-01"}
    assert set(ours.post(f"{DATA}/periods", [body]).json["errors"]) == {"periods.0.end_date"}
    answer = ours.post(f"{DATA}/periods", [{"id": "x"}])
    names = {"id", "short_name", "start_date", "end_date"}
    assert set(answer.json["errors"]) == {f"periods.0.{name}" for name in names}


def test_a_company_has_one_root_for_ever(app: Flask, ours: Caller) -> None:
    root = next(unit for unit in ours.get(UNITS).json if unit["parentId"] is None)
    parent, child = str(uuid4()), str(uuid4())
    body = [
        {"id": child, "name": "Child", "parent_id": parent},
        {"id": parent, "name": "Parent", "parent_id": None},
    ]
    made = ours.post(f"{DATA}/units", body).json["units"]
    assert [unit["parent_id"] for unit in made] == [parent, root["id"]]
    renamed = ours.post(f"{DATA}/units", [{"id": root["id"], "name": "Group"}])
    assert renamed.json["units"][0] == {
        "id": root["id"],
        "name": "Group",
        "position": 0,
        "parent_id": None,
    }
    with app.app_context():
        roots = select(func.count()).select_from(Unit).where(Unit.parent_key.is_(None))
        assert db.session.scalar(roots) == 1


def test_a_unit_cannot_lie_below_itself(ours: Caller) -> None:
    units = {unit["name"]: unit for unit in ours.get(UNITS).json}
    europe, lyon = units["Europe"], units["Lyon office"]
    moved = {"id": europe["id"], "name": "Europe", "parent_id": lyon["id"]}
    answer = ours.post(f"{DATA}/units", [moved])
    assert set(answer.json["errors"]) == {"units.0.parent_id"}
    root = ours.get(UNITS).json[0]
    answer = ours.post(
        f"{DATA}/units", [{"id": root["id"], "name": "Acme", "parent_id": lyon["id"]}]
    )
    assert answer.status_code == 422
    answer = ours.post(f"{DATA}/units", [{"name": "X", "parent_id": str(uuid4())}])
    assert set(answer.json["errors"]) == {"units.0.parent_id"}
    assert {unit["name"]: unit for unit in ours.get(UNITS).json} == units


def test_two_companies_may_use_the_same_ids(app: Flask, ours: Caller, caller: Callers) -> None:
    make_demo_for(app, "stranger")
    theirs = caller("stranger")
    ours.post(ENTRIES, [entry(quantity=1)])
    period = period_body(ours)
    period["short_name"] = "Theirs"
    assert theirs.post(f"{DATA}/periods", [period]).status_code == 200
    assert theirs.post(ENTRIES, [entry(quantity=2, period_id="Theirs")]).json["created"] == 1
    assert period_body(ours)["short_name"] == "2025"
    (found,) = [one for one in ours.get(ENTRIES, limit=1000).json["entries"] if one["id"] == "e-1"]
    assert found["quantity"] == 1


def test_entries_are_paged_by_id(ours: Caller) -> None:
    seen: list[str] = []
    address = f"{ENTRIES}?limit=250"
    while address:
        answer = ours.send("GET", address)
        seen += [one["id"] for one in answer.json["entries"]]
        link = answer.headers.get("Link", "")
        address = link.partition("<")[2].partition(">")[0]
    assert len(seen) == len(set(seen)) == 576
    period = period_body(ours)["id"]
    assert len(ours.get(ENTRIES, limit=1000, period_id=period).json["entries"]) == 288
    assert ours.get(ENTRIES, limit=0).status_code == 422
    assert ours.get(ENTRIES, period_id=str(uuid4())).status_code == 404


def test_the_demo_is_the_same_at_every_call(app: Flask) -> None:
    runner = app.test_cli_runner()
    first = runner.invoke(args=["inventory", "demo", "--company", "Acme"])
    assert (first.exit_code, first.output[:25]) == (0, "Acme: 576 entries made, 0")
    again = runner.invoke(args=["inventory", "demo", "--company", "acme"])
    assert "0 entries made, 0 changed, 576" in again.output
    assert runner.invoke(args=["inventory", "demo", "--company", " "]).exit_code == 2


def test_the_demo_brings_the_inventory_along(app: Flask, acme: str) -> None:
    with app.app_context():
        sentence = app.extensions["report_kinds"]["inventory"].seed_demo(acme)
    assert sentence.startswith("576 ")
