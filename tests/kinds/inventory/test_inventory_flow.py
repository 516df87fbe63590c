"""The export flow from sign-in to download, by a client that knows the published addresses only."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import openpyxl
import pytest
import requests
from flask import Flask

from tests.conftest import PASSWORD, grant
from tests.kinds.inventory.inventory_helpers import (
    PERIODS,
    REPORT_FIELDS,
    REPORTS,
    UNITS,
    Flow,
    make_demo_for,
    serving,
)
from webapp.accounts import create_key, find_company, find_user
from webapp.extensions import db


@pytest.fixture
def site(app: Flask, acme: str) -> Iterator[str]:
    with serving(app) as address:
        yield address


def key_of(app: Flask, who: str) -> tuple[str, str]:
    with app.app_context():
        user = find_user(f"{who}@example.com")
        assert user is not None
        key, secret = create_key(user, "flow")
        return key.key_id, secret


def by_key(app: Flask, site: str) -> Flow:
    return Flow(site).by_key(*key_of(app, "colleague"))


def by_password(_app: Flask, site: str) -> Flow:
    return Flow(site).by_password("colleague@example.com", PASSWORD)


@pytest.mark.parametrize("sign_in", [by_key, by_password])
def test_a_program_gets_its_inventory(
    app: Flask, site: str, sign_in: Callable[[Flask, str], Flow]
) -> None:
    flow = sign_in(app, site)
    assert flow.company["name"] == "Acme"
    started = flow.start(reportType="DATA_DUMP", baseReportingPeriodId=flow.get(PERIODS)[-1]["id"])
    assert set(started) == REPORT_FIELDS
    assert started["reportFileStatus"] == started["reportStatus"] == "PROCESSING"
    assert (started["name"], started["jsonVersion"]) == ("Inventory [2025]", 1)
    assert (started["doneReportFiles"], started["countReportFiles"]) == (0, 4)
    assert datetime.fromisoformat(started["createdOn"]).tzinfo is not None
    answers = flow.wait(started["id"])
    assert all(answer["countReportFiles"] == 4 for answer in answers)
    done = [answer["doneReportFiles"] for answer in answers]
    assert done == sorted(done)
    assert answers[-1]["reportFileStatus"] == "DONE"
    assert answers[-1]["doneReportFiles"] == 4
    assert started["id"] in {report["id"] for report in flow.get(REPORTS)}
    workbook = openpyxl.load_workbook(
        io.BytesIO(flow.download(started["id"], "DATA_DUMP", "XLSX")), read_only=True
    )
    assert workbook.sheetnames[0] == "Inventory"
    workbook.close()
    assert flow.download(started["id"], "ISO14064", "PDF").startswith(b"%PDF-")
    flow.download(started["id"], "GHG_PROTOCOL", "XLSX")
    flow.download(started["id"], "REPORT_DATA", "JSON")
    gone = flow.delete(f"{REPORTS}/{started['id']}")
    assert set(gone) == {"id", "msg"}
    assert gone["id"] == started["id"]
    assert flow.get(REPORTS) == []


def test_lists_are_bare_and_whole(app: Flask, site: str) -> None:
    flow = by_key(app, site)
    periods = flow.get(PERIODS)
    assert {"id", "shortName", "description", "startDate", "endDate", "isLocked"} == set(periods[0])
    assert [period["shortName"] for period in periods] == ["2025", "2024"]
    assert flow.get("/api/v1.0/reporting-periods") == periods
    units = flow.get(UNITS)
    assert {"id", "name", "position", "parentId"} == set(units[0])
    assert len(units) == 7
    assert [unit["name"] for unit in units if unit["parentId"] is None] == ["Acme"]
    assert flow.get(f"{UNITS}/{units[3]['id']}") == units[3]


def test_the_refresh_token_stays_and_keeps_the_company_switched_to(app: Flask, site: str) -> None:
    make_demo_for(app, "stranger")
    with app.app_context():
        user, other = find_user("colleague@example.com"), find_company("Other")
        assert user is not None
        assert other is not None
        grant(user, other, "expert")
        db.session.commit()
        other_id = other.id
    flow = by_password(app, site)
    acme_units = {unit["id"] for unit in flow.get(UNITS)}
    assert {company["name"] for company in flow.get("/api/accounts/v1/companies")} == {
        "Acme",
        "Other",
    }
    flow.switch(other_id)
    assert (flow.company["name"], flow.own_company["name"]) == ("Other", "Acme")
    for _ in range(3):  # the client keeps the first refresh token for good
        flow.refresh()
        assert flow.claims()["com"] == other_id
    assert not acme_units & {unit["id"] for unit in flow.get(UNITS)}
    report = flow.start()
    assert flow.wait(report["id"])[-1]["reportFileStatus"] == "DONE"
    mine = Flow(site).by_key(*key_of(app, "owner"))
    assert (
        requests.get(
            f"{site}{REPORTS}/{report['id']}",
            headers={"Authorization": f"Bearer {mine.token}"},
            timeout=60,
        ).status_code
        == 404
    )


def test_the_last_company_is_the_next_sign_ins(app: Flask, site: str) -> None:
    with app.app_context():
        user, other = find_user("colleague@example.com"), find_company("Other")
        assert user is not None
        assert other is not None
        grant(user, other, "expert")
        db.session.commit()
        other_id = other.id
    by_password(app, site).switch(other_id)
    assert by_password(app, site).claims()["com"] == other_id


def test_a_report_by_the_seeds_own_fields_alone(app: Flask, site: str) -> None:
    """Older clients send neither a base period nor a report type."""
    flow = by_key(app, site)
    report: dict[str, Any] = flow.start()
    assert flow.wait(report["id"])[-1]["reportFileStatus"] == "DONE"
