"""A report shows one moment: what comes while it reads is in none of its tables, or in all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from decimal import Decimal

from flask import Flask

from tests.conftest import find_scope
from tests.kinds.inventory.inventory_helpers import DATA, Caller, entry
from webapp.extensions import db
from webapp.kinds.inventory.params import InventoryParams
from webapp.kinds.inventory.snapshot import read_facts, snapshot_transaction, take
from webapp.kinds.inventory.tabular import compared

Callers = Callable[[str], Caller]


def test_a_unit_made_while_a_report_reads_breaks_no_sum(
    app: Flask, acme: str, caller: Callers
) -> None:
    ours, owner = caller("owner"), find_scope(app, "owner")
    period, _ = ours.places()
    params = InventoryParams(period=period)
    with app.app_context(), tempfile.TemporaryFile() as file:
        with snapshot_transaction() as connection:
            facts = read_facts(connection, params, acme, owner.user_id, "a report")
            made = ours.post(f"{DATA}/units", [{"name": "New plant"}])
            assert made.status_code == 200
            new = entry(id="new", unit_id="New plant", quantity=1000, emission_factor=1000)
            assert ours.post(f"{DATA}/entries", [new]).status_code == 200
            snapshot = take(connection, facts, acme, file, lambda rows: None)
        scopes, _, units = compared(snapshot)
        assert units[0]["emissions"] == scopes[-1]["emissions"] == Decimal("1435960.2192")
        with snapshot_transaction() as connection, tempfile.TemporaryFile() as later:
            facts = read_facts(connection, params, acme, owner.user_id, "a report")
            scopes, _, units = compared(take(connection, facts, acme, later, lambda rows: None))
        assert units[0]["emissions"] == scopes[-1]["emissions"] == Decimal("2435960.2192")
        # The connection goes back as it came.
        with db.engine.begin() as connection:
            assert connection.get_isolation_level() == connection.default_isolation_level
