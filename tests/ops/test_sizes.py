"""The operator's page of sizes: rows, bytes, oldest, growth, and the setting that governs it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from tests.conftest import find_scope, form_token
from tests.job_helpers import run_jobs
from webapp.accounts import audit
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.ops.sizes import TableSize, measure, sizes

Browse = Callable[[str], FlaskClient]


def test_an_operator_lets_a_worker_measure_and_reads_the_sizes(
    app: Flask, client_for: Browse
) -> None:
    operator = client_for("operator")
    assert "Nothing has been measured yet" in operator.get("/ops/sizes").text
    token = form_token(operator)
    assert operator.post("/ops/sizes", data={"csrf_token": token}).status_code == 303
    run_jobs(app)
    page = operator.get("/ops/sizes").text
    assert "audit_entry" in page
    assert "AUDIT_KEPT_DAYS</code>: 400" in page
    assert "SESSIONS_KEPT_MONTHS</code>: for good" in page


def test_nobody_else_reads_them(client_for: Browse) -> None:
    assert client_for("owner").get("/ops/sizes").status_code in {403, 404}


def test_growth_is_told_by_the_measurement_of_the_month_before(app: Flask) -> None:
    scope = find_scope(app, "owner")
    with app.app_context():
        measure()
        a_month_ago = utcnow() - timedelta(days=365.25 / 12)
        earlier = {"month": a_month_ago.date().replace(day=1), "measured_at": a_month_ago}
        db.session.execute(update(TableSize).values(**earlier))
        for number in range(30):
            audit(scope, "tried", str(number))
        db.session.commit()
        measure()
        (found,) = [one for one in sizes() if one.now.name == "audit_entry"]
        assert round(found.rows_a_month or 0) == 30
        assert (found.now.bytes or 0) > 0
        assert found.now.oldest is not None
        assert (found.setting, found.kept) == ("AUDIT_KEPT_DAYS", 400)


def test_what_belongs_to_a_row_is_governed_by_what_governs_it(app: Flask) -> None:
    with app.app_context():
        measure()
        governed = {one.now.name: one.setting for one in sizes()}
    assert governed["status_line"] == governed["result_row"] == "REPORTS_KEPT_DAYS"
    assert governed["session_activity_segment"] == "SESSIONS_KEPT_MONTHS"
    assert governed["stored_file_chunk"] == "INVENTORY_FILES_KEPT_DAYS"
