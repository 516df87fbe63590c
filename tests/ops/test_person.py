"""One person in the whole installation: what is kept about them is written out, and forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.conftest import Api, find_scope
from webapp import jobs
from webapp.accounts import audit, create_key, find_user
from webapp.engine.models import StoredMonth
from webapp.extensions import db
from webapp.files import StoredFile
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.models import StorageMonth
from webapp.lib.moments import utcnow

COLLEAGUE = "colleague@example.com"


@pytest.fixture
def traces(app: Flask, api_for: Callable[[str], Api]) -> str:
    """Let the colleague leave traces in many rooms; return the id of a report that names them."""
    api = api_for("colleague")
    provider = api.post("/storage_providers", {"name": "swift", "description": "s"}).json["id"]
    project = api.post("/projects", {"name": "Mouse"}).json["id"]
    event = {"id": "1", "type": "upload", "file_version_id": "v", "at": "2025-01-01T00:00:00Z"}
    event |= {"bytes": 100, "storage_provider_id": provider}
    # The same person as another program writes them, in the same month.
    spelled = event | {"id": "2", "file_version_id": "w", "uploader": COLLEAGUE.title()}
    assert api.post(f"/projects/{project}/file_events", [event, spelled]).status_code == 202
    owner = api_for("owner")
    asked = {"kind": "project-storage", "params": {"start": "2025-01", "end": "2025-02"}}
    to = [COLLEAGUE, "joann-colleague@example.com"]
    saved = {"name": "Growth", "deliver": [{"by": "email", "to": to, "attach": ["csv"]}]}
    assert owner.post("/definitions", asked | saved).status_code == 201
    made = api.post("/reports", asked).json["id"]
    begun = {
        "id": "s1",
        "comp_name": "pink",
        "ip_addr": "",
        "login": COLLEAGUE,
        "next_ping_sec": 60,
    }
    for path, body in (("users", [{"Name": COLLEAGUE}]), ("computers", [{"Name": "pink"}])):
        owner.client.post(f"/api/session-manager/{path}", json=body, auth=owner.auth)
    said = owner.client.post("/api/session-manager/session", json=begun, auth=owner.auth)
    assert said.status_code == 201, said.text
    with app.app_context():
        user = find_user(COLLEAGUE)
        assert user is not None
        create_key(user, "theirs")
        audit(find_scope(app, "owner"), "invited", f"{COLLEAGUE} and joann-{COLLEAGUE}")
        # In JSON, what stands before the address here is written as a letter.
        month = {"kind": "inventory", "subject": "s", "item": "i", "month": date(2025, 1, 1)}
        month |= {"value": {"by": [f"made by:\n{COLLEAGUE}"]}, "company_id": user.home_company_id}
        db.session.add(StoredMonth(**month, counted_at=utcnow(), expires_at=utcnow()))
        db.session.commit()
        for key in counting.waiting_projects():
            counting.count_project(key)
        jobs.run_queued(made)
        db.session.remove()
    return str(made)


def everything(app: Flask) -> str:
    """Return all rows of all tables as text."""
    with app.app_context():
        rows = (
            str(tuple(row))
            for table in db.metadata.sorted_tables
            if table is not StoredFile.__table__
            for row in db.session.execute(sa.select(table))
        )
        return "\n".join(rows)


def test_all_that_is_kept_about_somebody_is_written_out_without_secrets(
    app: Flask, traces: str
) -> None:
    written = app.test_cli_runner().invoke(args=["user", "export", COLLEAGUE])
    assert written.exit_code == 0, written.output
    found: dict[str, Any] = json.loads(written.output)
    assert found["app_user"][0]["email"] == COLLEAGUE
    assert found["report"][0]["id"] == traces
    assert found["session_activity: time"], "hours of a login that is called like the address"
    assert {"membership", "api_key", "audit_entry", "definition", "result_row"} <= found.keys()
    assert found["project_storage_event"][0]["uploader"] == COLLEAGUE
    hidden = ("password_hash", "secret_hash", "token_hash", "sealed")
    assert not [row for rows in found.values() for row in rows if row.keys() & set(hidden)]


def test_who_is_erased_is_nowhere_any_more_and_what_they_made_stays(
    app: Flask, traces: str, api_for: Callable[[str], Api]
) -> None:
    done = app.test_cli_runner().invoke(args=["user", "erase", COLLEAGUE, "--yes"])
    assert done.exit_code == 0, done.output
    left = everything(app)
    # Another address that ends the same is another one's.
    assert left.count(COLLEAGUE) == left.count(f"joann-{COLLEAGUE}") == 2
    (definition,) = api_for("owner").get("/definitions").json
    assert definition["deliver"][0]["to"] == [f"joann-{COLLEAGUE}"]
    with app.app_context():
        assert db.session.get(jobs.Job, traces) is None, "nobody else could have found it"
        uploaders = set(db.session.scalars(sa.select(StorageMonth.uploader)))
        assert {name.rpartition("@")[2] for name in uploaders} == {"deleted.invalid"}
        assert len(uploaders) == 2
        assert not any(drift for _, drift in counting.recount_all(repair=False))


def test_nobody_is_erased_who_is_a_companys_last_admin(app: Flask) -> None:
    refused = app.test_cli_runner().invoke(args=["user", "erase", "owner@example.com", "--yes"])
    assert refused.exit_code == 1
    assert "last admin" in refused.output
