"""Fixtures of the inventory: callers of its addresses, reports made to their end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.conftest import find_scope
from tests.kinds.inventory.inventory_helpers import Caller, make_demo_for, run_waiting
from webapp.extensions import db

_Rows = list[tuple[sa.Table, list[dict[str, Any]]]]
_kept: dict[str, tuple[list[Any], _Rows]] = {}


def once(app: Flask, name: str, make: Callable[[], None]) -> None:
    """Fill the database, the first time by making, then by what was made; people stay as they are.

    People and companies have other ids in each test: what was made is given to those of this one.
    On Postgres their keys do not come again: what was made first moved its sequences on.
    """
    with app.app_context():
        before = filled()
        ids = [value for _, rows in before for row in rows for value in row.values()]
        if name in _kept:
            then, made = _kept[name]
            now = {old: new for old, new in zip(then, ids, strict=True) if isinstance(old, str)}
            for table, rows in made:
                renewed = [
                    {
                        key: now.get(value, value) if isinstance(value, str) else value
                        for key, value in row.items()
                    }
                    for row in rows
                ]
                db.session.execute(table.insert(), renewed)
            db.session.commit()
            return
        make()
        names = {table.name for table, _ in before}
        _kept[name] = ids, [(table, rows) for table, rows in filled() if table.name not in names]


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
