"""A rotation of SECRET_KEY from end to end: what was sealed is sealed again, the old key may go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, DEMO_SECRET, SECRET_KEY, add_people, find_scope
from webapp import jobs
from webapp.engine import service
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.kinds.partner_use import connections
from webapp.kinds.partner_use.connections import Connection
from webapp.security import SEALED

NEW_KEY = "the key that comes after, 0123456789"
FORM = {
    "name": "Demo", "partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET,
}  # fmt: skip
Restarted = Callable[..., Flask]


@pytest.fixture
def restarted(make_app: Restarted, stand_in: RunningStandIn) -> Restarted:
    """Return a maker of the application as it is after a restart, under other keys."""

    def start(key: str, previous: str = "") -> Flask:
        keys = {"SECRET_KEY": key, "SECRET_KEY_PREVIOUS": previous}
        return make_app(PARTNER_API_URL=stand_in.url_template, **keys)

    return start


@pytest.fixture
def waiting(restarted: Restarted) -> str:
    """Return the id of a report that waits with its secret, beside a stored connection."""
    app = restarted(SECRET_KEY)
    add_people(app)
    return ask(app, {"user_key": DEMO_KEY, "user_secret": DEMO_SECRET}, store=True)


def ask(app: Flask, credentials: dict[str, Any], *, store: bool = False) -> str:
    owner = find_scope(app, "owner")
    with app.app_context():
        if store:
            connections.add(owner, FORM)
        params = {"partner_id": "70000001"} | credentials
        return service.start_report(owner, "partner-use", params, enqueue=False).report.id


def reseal(app: Flask) -> Result:
    return app.test_cli_runner().invoke(args=["secrets", "reseal"])


def run(app: Flask, report_id: str) -> str:
    with app.app_context():
        jobs.run_queued(report_id)
        return db.session.get_one(Report, report_id).status


def stored_connection(app: Flask) -> tuple[str, str]:
    with app.app_context():
        found = db.session.query(Connection).one()
        return found.id, found.sealed_secret


def test_after_a_rotation_the_old_key_may_go(restarted: Restarted, waiting: str) -> None:
    both = restarted(NEW_KEY, SECRET_KEY)
    done = reseal(both)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "Sealed again: 2. Already under the newest key: 0.\n"
    again = reseal(both)
    assert again.stdout == "Sealed again: 0. Already under the newest key: 2.\n"
    alone = restarted(NEW_KEY)
    assert run(alone, waiting) == "done"
    connection, _ = stored_connection(alone)
    assert run(alone, ask(alone, {"connection": connection})) == "done"


def test_what_cannot_be_read_is_named_and_left(restarted: Restarted, waiting: str) -> None:
    alone = restarted(NEW_KEY)
    before = stored_connection(alone)
    refused = reseal(alone)
    assert refused.exit_code == 1
    assert "The secret of the connection Demo of Acme cannot be read" in refused.stderr
    assert f"The secret of the report {waiting} of Acme cannot be read" in refused.stderr
    assert "SECRET_KEY_PREVIOUS" in refused.stderr
    assert stored_connection(alone) == before
    assert reseal(restarted(NEW_KEY, SECRET_KEY)).exit_code == 0


def test_a_connection_that_is_used_is_sealed_anew(restarted: Restarted, waiting: str) -> None:
    both = restarted(NEW_KEY, SECRET_KEY)
    connection, before = stored_connection(both)
    ask(both, {"connection": connection})
    assert stored_connection(both)[1] != before
    alone = restarted(NEW_KEY)
    assert run(alone, ask(alone, {"connection": connection})) == "done"


def test_every_sealed_column_says_that_it_is_one(app: Flask) -> None:
    sealed = {
        f"{table.name}.{column.name}": SEALED in column.info
        for table in db.metadata.sorted_tables
        for column in table.columns
        if "sealed" in column.name
    }
    assert sealed == {
        "definition.sealed": True,
        "job.sealed": True,
        "partner_use_connection.sealed_secret": True,
        "second_factor.sealed": True,
    }
