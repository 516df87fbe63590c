"""Fixtures of the inventory: callers of its addresses, reports made to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.conftest import find_scope
from tests.kinds.inventory.inventory_house import Caller, make_demo_for, run_waiting
from webapp.extensions import db

_kept: dict[str, list[tuple[sa.Table, list[dict[str, Any]]]]] = {}


def once(app: Flask, name: str, make: Callable[[], None]) -> None:
    """Fill the database, the first time by making, then by what was made; people stay as they are.

    On Postgres it is made every time: its sequences know nothing of rows that bring their keys.
    """
    with app.app_context():
        if name in _kept and db.engine.dialect.name == "sqlite":
            for table, rows in _kept[name]:
                db.session.execute(table.insert(), rows)
            db.session.commit()
            return
        before = {table.name for table, _ in filled()}
        make()
        _kept[name] = [(table, rows) for table, rows in filled() if table.name not in before]


def filled() -> list[tuple[sa.Table, list[dict[str, Any]]]]:
    """Return the rows of every table that has some, parents first."""
    found = []
    for table in db.metadata.sorted_tables:
        rows = [dict(row) for row in db.session.execute(table.select()).mappings()]
        if rows:
            found.append((table, rows))
    return found


def fill(app: Flask) -> None:
    make_demo_for(app, "owner")


@pytest.fixture
def acme(app: Flask) -> str:
    """Return the id of Acme, which has the demo data."""
    company_id = find_scope(app, "owner").company_id
    once(app, "acme", lambda: fill(app))
    return company_id


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

    def make() -> None:
        periods = ours.get("/api/v1.0/reporting-periods").json
        base = min(periods, key=lambda one: one["startDate"])
        ours.start(baseReportingPeriodId=base["id"])
        run_waiting(app)

    once(app, "made", make)
    (found,) = ours.get("/api/reports/v1/reports").json
    return dict(found)
