"""The flow's client makes a company's structure, entries and factors, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import requests
from flask import Flask
from sqlalchemy import select

from tests.conftest import PASSWORD
from tests.kinds.inventory.inventory_helpers import (
    DATA,
    PERIODS,
    UNITS,
    Caller,
    Flow,
    entry,
    serving,
)
from webapp.accounts.models import AuditEntry
from webapp.extensions import db

FACTORS = "/api/emission-factors/v1"
MEASUREMENTS = "/api/v1.0/measurements"
ACTIVITIES = "/api/activities/v1"


@pytest.fixture
def site(app: Flask, acme: str) -> Iterator[str]:
    with serving(app) as server:
        yield server


@pytest.fixture
def admin(site: str) -> Flow:
    return Flow(site).by_password("owner@example.com", PASSWORD)


def put(flow: Flow, path: str, body: Any) -> Any:
    return flow._sent("PUT", path, json=body).json()


def refused(flow: Flow, method: str, path: str, **more: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {flow.token}"}
    return requests.request(method, flow.server + path, headers=headers, timeout=60, **more)


def test_a_company_gets_its_units_and_periods(admin: Flow) -> None:
    root = admin.root()
    sales = admin.post(UNITS, {"name": "Sales", "parentId": root["id"], "position": 0})
    assert (sales["name"], sales["parentId"], sales["position"]) == ("Sales", root["id"], 0)
    belgium = admin.post(UNITS, {"name": "Belgium", "parentId": sales["id"], "position": 1})
    moved = put(admin, f"{UNITS}/{belgium['id']}", belgium | {"parentId": root["id"], "name": "BE"})
    assert (moved["id"], moved["name"], moved["parentId"]) == (belgium["id"], "BE", root["id"])
    assert moved in admin.get(UNITS)
    assert admin.delete(f"{UNITS}/{sales['id']}")["id"] == sales["id"]
    assert refused(admin, "DELETE", f"{UNITS}/{root['id']}").status_code == 409
    (used,) = [one for one in admin.get(UNITS) if one["name"] == "Lyon office"]
    assert "entries of it" in refused(admin, "DELETE", f"{UNITS}/{used['id']}").json()["detail"]
    lost = refused(admin, "POST", UNITS, json={"name": "x", "parentId": admin.user["id"]})
    assert lost.json()["errors"] == {"parent_id": "There is no such unit."}
    odd = refused(admin, "POST", UNITS, json=[{"name": "x"}])
    assert odd.json()["errors"] == {"body": "Send a JSON object."}

    year = {"shortName": "Y-2021", "startDate": "2021-01-01", "endDate": "2021-12-31"}
    more = {"description": "Base year", "isLocked": False}
    made = admin.post("/api/v1.0/reporting-periods", year | more)
    assert made == year | more | {"id": made["id"]}
    assert put(admin, f"{PERIODS}/{made['id']}", made | {"isLocked": True})["isLocked"]
    odd = refused(admin, "POST", PERIODS, json=year | {"endDate": "2020-01-01"})
    assert odd.json()["errors"] == {"end_date": "The end is before the start."}


def test_the_tree_of_activities_is_read(admin: Flow) -> None:
    groups = admin.get(f"{ACTIVITIES}/activity-groups")
    categories = admin.get(f"{ACTIVITIES}/activity-categories")
    assert {one["activityGroupId"] for one in categories} == {one["id"] for one in groups}
    assert len(categories) == 4 + 2 + 15
    by_type = {one["activityCategoryType"]: one for one in categories}
    assert by_type["BUSINESS_TRAVEL"]["name"] == "Business travel"
    assert by_type["PURCHASED_ELECTRICITY"]["isUsed"]


def measurement(admin: Flow, **more: Any) -> dict[str, Any]:
    """Return an entry as the client's example sends it, names in either spelling."""
    period = max(admin.get(PERIODS), key=lambda one: one["startDate"])
    (electricity,) = [
        one
        for one in admin.get(f"{ACTIVITIES}/activity-categories")
        if one["activityCategoryType"] == "PURCHASED_ELECTRICITY"
    ]
    return {
        "keyword": "Belgium",
        "description": "Office Brussels",
        "attribute": "Gray",
        "consumption": 10000,
        "unit": "kWh",
        "start_date": period["startDate"],
        "end_date": period["endDate"],
        "activity_category_id": electricity["id"],
        "reporting_period_id": period["id"],
        "organizational_unit_id": admin.root()["id"],
        "tradedFromOrganizationalUnitId": None,
        "date_granularity": "YEAR",
    } | more


def test_entries_are_made_counted_and_find_their_factor(
    admin: Flow, caller: Callable[[str], Caller]
) -> None:
    made = admin.post(f"{MEASUREMENTS}/v2", measurement(admin))
    assert (made["volume"], made["unit"], made["keyword"], made["attribute"]) == (
        10000,
        "kWh",
        "Belgium",
        "Gray",
    )
    assert made["emissions"] is None
    formula = admin.get(f"{MEASUREMENTS}/{made['id']}/formula")
    (term,), (value,) = formula["formulaTerms"], formula["formulaTermValues"]
    assert (term["name"], value["formulaTermId"]) == ("consumption", term["id"])
    path = f"{MEASUREMENTS}/{made['id']}/formula-term-value/{value['id']}"
    assert put(admin, path, value | {"value": 12000.5})["value"] == 12000.5

    (dataset,) = admin.get(f"{FACTORS}/datasets")
    assert (dataset["datasetType"], dataset["companyId"]) == ("CUSTOM", admin.company["id"])
    body = {"dataset_id": dataset["id"], "unit": "kWh", "attribute": "Gray", "keyword": "Belgium"}
    factor = admin.post(f"{FACTORS}/emission-factors", body)["emissionFactor"]
    again = admin.post(f"{FACTORS}/emission-factors", body)["emissionFactor"]
    assert again["id"] == factor["id"]
    (latest,) = admin.get(f"{FACTORS}/emission-factor-values", emissionFactorId_equals=factor["id"])
    assert latest["valueCo2eqAggregated"] is None
    # The client reads no value without these two.
    assert (latest["unit"], latest["referringEmissionFactorId"]) == ("kWh", None)
    put(admin, f"{FACTORS}/emission-factor-values/{latest['id']}", {"value_co2eq_aggregated": 0.2})

    found = admin.get(f"{MEASUREMENTS}/v2/{made['id']}")
    assert found["emissions"] == pytest.approx(2400.1)
    assert found["emissionFactorId"] == factor["id"]
    changed = put(admin, f"{MEASUREMENTS}/v2/{made['id']}", found | {"description": "Office"})
    assert (changed["description"], changed["volume"]) == ("Office", 12000.5)
    (listed,) = admin.get(f"{FACTORS}/emission-factors", fingerprint_contains="Belgium|Gray")[
        "emissionFactors"
    ]
    assert listed["id"] == factor["id"]
    ours = caller("owner").get(f"{DATA}/entries", limit=1000).json["entries"]
    (stored,) = [one for one in ours if one["id"] == made["id"]]
    assert (stored["scope"], stored["category"]) == (2, "Purchased electricity")
    assert stored["factor_source"] == "Belgium / Gray"


def test_a_factor_of_an_entrys_own_stays_when_the_client_changes_it(
    admin: Flow, caller: Callable[[str], Caller]
) -> None:
    digits = "0123456789abcdef" * 2
    ours = caller("owner")
    own = {"factor_source": "IPCC / AR6", "emission_factor": "0.182", "quantity": "10"}
    assert ours.post(f"{DATA}/entries", [entry(id=digits, **own)]).status_code == 200
    # The client knows IDs as UUIDs only.
    path = f"{MEASUREMENTS}/v2/{UUID(digits)}"
    found = admin.get(path)
    assert put(admin, path, found | {"description": "Checked"})["emissions"] == 1.82
    (value,) = admin.get(f"{MEASUREMENTS}/{UUID(digits)}/formula")["formulaTermValues"]
    place = f"{MEASUREMENTS}/{UUID(digits)}/formula-term-value/{value['id']}"
    assert put(admin, place, value | {"value": 20})["value"] == 20
    assert put(admin, path, found | {"keyword": "Other"})["emissions"] is None
    traded = found | {"tradedFromOrganizationalUnitId": admin.root()["id"]}
    assert refused(admin, "PUT", path, json=traded).status_code == 501


def test_a_factor_is_called_otherwise_and_its_entries_follow(admin: Flow) -> None:
    made = admin.post(f"{MEASUREMENTS}/v2", measurement(admin))
    words = {"keyword": "Belgium", "attribute": "Gray", "unit": "kWh"}
    path = f"{FACTORS}/emission-factors"
    factor = admin.post(path, words | {"valueCo2eqAggregated": 0.2})["emissionFactor"]
    # As the client dumps it: without a unit.
    said = {"keyword": "Belgium", "attribute": "Grey", "unit_id": None, "description": "Grid"}
    changed = put(admin, f"{path}/{factor['id']}", said)
    assert (changed["fingerprint"], changed["description"]) == ("Belgium|Grey|kWh", "Grid")
    found = admin.get(f"{MEASUREMENTS}/v2/{made['id']}")
    assert (found["attribute"], found["emissions"]) == ("Grey", 2000)
    other = admin.post(path, words)["emissionFactor"]
    taken = refused(admin, "PUT", f"{path}/{other['id']}", json=said)
    assert "Another factor has" in taken.json()["detail"]
    odd = refused(admin, "PUT", f"{path}/{other['id']}", json={"unit": "MWh"})
    assert "The unit of a factor stays" in str(odd.json()["errors"])


def test_a_factor_leaves_locked_periods_as_they_are(app: Flask, admin: Flow) -> None:
    made = admin.post(f"{MEASUREMENTS}/v2", measurement(admin))
    factor = {"keyword": "Belgium", "attribute": "Gray", "unit": "kWh"}
    path = f"{FACTORS}/emission-factors"
    valued = admin.post(path, factor | {"valueCo2eqAggregated": 0.2})["emissionFactor"]
    with app.app_context():
        noted = select(AuditEntry.subject).where(AuditEntry.action == "stored factor")
        assert db.session.scalars(noted).all() == ["Belgium / Gray, kWh"]
    period = next(one for one in admin.get(PERIODS) if one["id"] == made["reportingPeriodId"])
    put(admin, f"{PERIODS}/{period['id']}", period | {"isLocked": True})
    value = {"valueCo2eqAggregated": 0.3}
    put(admin, f"{FACTORS}/emission-factor-values/{valued['id']}", value)
    assert admin.get(f"{MEASUREMENTS}/v2/{made['id']}")["emissions"] == 2000
    late = refused(admin, "POST", f"{MEASUREMENTS}/v2", json=measurement(admin))
    assert late.status_code == 422
    assert "locked" in str(late.json()["errors"])


def test_what_is_not_done_here_says_what_is_instead(admin: Flow) -> None:
    for method, path, words in (
        ("POST", "/api/accounts/v1/companies", "made by the operator"),
        ("PUT", f"/api/accounts/v1/users/{admin.user['id']}/activate", "themselves"),
        ("GET", "/api/results/v1/dashboard-data", "Make a report"),
        ("POST", f"{ACTIVITIES}/activity-categories", "fixed"),
        ("PUT", f"/api/tags/v1/options/{admin.user['id']}", "no tags"),
        ("PATCH", f"/api/measurements/v1/inventory-lines/{admin.user['id']}", "inventory/entries"),
        ("GET", "/api/uncertainties/v1/uncertainties", "not kept"),
    ):
        answer = refused(admin, method, path, json={})
        assert (answer.status_code, answer.json()["title"]) == (501, "Not offered here")
        assert words in answer.json()["detail"]


def test_only_admins_change_the_structure(acme: str, caller: Callable[[str], Caller]) -> None:
    viewer = caller("colleague")
    unit = viewer.get(UNITS).json[0]
    for method, path in (
        ("POST", UNITS),
        ("PUT", f"{UNITS}/{unit['id']}"),
        ("DELETE", f"{UNITS}/{unit['id']}"),
        ("POST", PERIODS),
        ("POST", f"{MEASUREMENTS}/v2"),
        ("POST", f"{FACTORS}/emission-factors"),
        ("PUT", f"{FACTORS}/emission-factors/{unit['id']}"),
    ):
        assert viewer.send(method, path, json={}).status_code == 403, path
    stranger = caller("stranger")
    assert stranger.send("GET", f"{UNITS}/{unit['id']}").status_code == 404
