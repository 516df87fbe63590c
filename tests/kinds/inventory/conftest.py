"""Fixtures of the inventory: callers of its addresses, reports made to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.kinds.inventory.inventory_house import Caller, make_demo_for, run_waiting


@pytest.fixture
def acme(app: Flask) -> str:
    """Return the id of Acme, which has the demo data."""
    return make_demo_for(app, "owner")


@pytest.fixture
def caller(api_for: Callable[[str], Any]) -> Callable[[str], Caller]:
    """Return somebody's program: `caller("colleague").get("/api/…")`."""

    def make(who: str) -> Caller:
        api = api_for(who)
        return Caller(
            lambda method, path, **more: api.client.open(path, method=method, auth=api.auth, **more)
        )

    return make


@pytest.fixture
def made(app: Flask, acme: str, caller: Callable[[str], Caller]) -> dict[str, Any]:
    """Return a report of the colleague with all its files, as its client read it last."""
    ours = caller("colleague")
    base = min(ours.get("/api/v1.0/reporting-periods").json, key=lambda one: one["startDate"])
    report = ours.start(baseReportingPeriodId=base["id"]).json
    run_waiting(app)
    found: dict[str, Any] = ours.get(f"/api/reports/v1/reports/{report['id']}").json
    return found
