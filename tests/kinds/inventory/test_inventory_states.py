"""A report's state as its clients read it: never null, counted by files, failed when they go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from flask import Flask
from sqlalchemy import func, select, update

from tests.conftest import find_scope
from tests.kinds.inventory.inventory_helpers import PERIODS, REPORTS, Caller, run_waiting
from webapp.engine import retention, service
from webapp.engine.models import Report
from webapp.extensions import db
from webapp.files import FileChunk, StoredFile, read_chunks
from webapp.jobs import Job
from webapp.kinds.inventory.models import Entry, Period
from webapp.lib.moments import utcnow

Callers = Callable[[str], Caller]


def state(who: Caller, report_id: str) -> tuple[str, int, int]:
    found = who.get(f"{REPORTS}/{report_id}").json
    assert found["reportStatus"] == found["reportFileStatus"]
    return found["reportFileStatus"], found["doneReportFiles"], found["countReportFiles"]


def rows(app: Flask, model: Any) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


def test_a_waiting_report_is_processing_and_has_no_address_yet(acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    started = ours.start()
    assert started.status_code == 200
    assert state(ours, started.json["id"]) == ("PROCESSING", 0, 4)
    answer = ours.url(started.json["id"])
    assert answer.status_code == 409
    assert "still" in answer.json["detail"]


def test_a_finished_report_is_done(made: dict[str, Any], caller: Callers) -> None:
    assert state(caller("colleague"), made["id"]) == ("DONE", 4, 4)


NOT_MADE = (
    ("DATA_DUMP", "PDF"),
    ("DATA_DUMP", ""),
    ("GHG_PROTOCOL", "DOCX"),
    ("ISO14064", "XLSX"),
    ("CARBON_ALT_DELETE", "PDF"),
    ("REPORT_DATA", "json"),
    ("NOTHING", "XLSX"),
    ("", ""),
)


def test_a_pair_that_is_not_made_is_422_with_the_list(
    made: dict[str, Any], caller: Callers
) -> None:
    ours = caller("colleague")
    for report_type, file_type in NOT_MADE:
        answer = ours.url(made["id"], report_type, file_type)
        assert answer.status_code == 422
        for pair in ("DATA_DUMP as XLSX", "GHG_PROTOCOL as XLSX", "ISO14064 as PDF", "REPORT_DATA"):
            assert pair in answer.json["detail"]


def test_a_cancelled_report_failed(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    report_id = ours.start().json["id"]
    with app.app_context():
        service.cancel_report(find_scope(app, "colleague"), report_id)
    assert state(ours, report_id) == ("FAILED", 0, 4)
    assert ours.url(report_id).status_code == 409


def test_a_report_whose_period_is_gone_failed(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("owner")
    body = {"id": str(uuid4()), "short_name": "X", "start_date": "2020-01-01"}
    period = ours.post("/api/v1/inventory/periods", [body | {"end_date": "2020-12-31"}]).json
    report_id = ours.start(reportingPeriodId=period["periods"][0]["id"]).json["id"]
    with app.app_context():
        db.session.delete(db.session.scalars(select(Period).where(Period.short_name == "X")).one())
        db.session.commit()
    run_waiting(app)
    assert state(ours, report_id)[0] == "FAILED"


def test_files_expire_by_age_and_the_report_failed_then(
    app: Flask, made: dict[str, Any], caller: Callers
) -> None:
    with app.app_context():
        kind = service.kinds()["inventory"]
        db.session.execute(update(StoredFile).values(created_at=utcnow() - timedelta(days=29)))
        db.session.commit()
        kind.nightly()
        assert rows(app, StoredFile) == 4
        db.session.execute(update(StoredFile).values(created_at=utcnow() - timedelta(days=31)))
        db.session.commit()
        kind.nightly()
    assert rows(app, StoredFile) == rows(app, FileChunk) == 0
    assert state(caller("colleague"), made["id"]) == ("FAILED", 0, 4)
    assert caller("colleague").url(made["id"]).status_code == 409


def test_deleting_a_report_takes_its_files_along(
    app: Flask, made: dict[str, Any], caller: Callers
) -> None:
    ours = caller("colleague")
    answer = ours.delete(f"{REPORTS}/{made['id']}")
    assert answer.status_code == 200
    assert answer.json["id"] == made["id"]
    assert rows(app, StoredFile) == rows(app, FileChunk) == 0
    assert ours.get(f"{REPORTS}/{made['id']}").status_code == 404
    assert ours.delete(f"{REPORTS}/{made['id']}").status_code == 404


def test_deleting_a_waiting_report_cancels_it_first(app: Flask, acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    report_id = ours.start().json["id"]
    assert ours.delete(f"{REPORTS}/{report_id}").status_code == 200
    run_waiting(app)
    assert rows(app, Report) == rows(app, StoredFile) == 0


def test_a_restart_makes_all_files_anew(app: Flask, made: dict[str, Any], caller: Callers) -> None:
    with app.app_context():
        before = set(db.session.scalars(select(StoredFile.id)))
        db.session.execute(update(Job).values(status="queued"))
        db.session.commit()
    assert state(caller("colleague"), made["id"])[0] == "PROCESSING"
    run_waiting(app)
    assert state(caller("colleague"), made["id"]) == ("DONE", 4, 4)
    with app.app_context():
        after = set(db.session.scalars(select(StoredFile.id)))
    assert len(after) == 4
    assert not before & after


def test_a_file_is_not_read_before_all_of_it_is_there(
    app: Flask, made: dict[str, Any], caller: Callers
) -> None:
    url = caller("colleague").url(made["id"]).json["url"]
    with app.app_context():
        db.session.execute(
            update(StoredFile).where(StoredFile.kind == "DATA_DUMP").values(ready_at=None)
        )
        db.session.commit()
    assert state(caller("colleague"), made["id"]) == ("FAILED", 3, 4)
    assert app.test_client().get(url).status_code == 404


def test_a_report_of_another_kind_is_unknown_here(
    app: Flask, acme: str, caller: Callers, partner_use: Callable[..., dict[str, Any]]
) -> None:
    with app.app_context():
        started = service.start_report(
            find_scope(app, "colleague"), "partner-use", partner_use(), enqueue=False
        )
        other = started.report.id
    ours = caller("colleague")
    assert ours.get(f"{REPORTS}/{other}").status_code == 404
    assert ours.get(f"{REPORTS}/not-an-id").status_code == 404
    assert ours.get(REPORTS).json == []


def test_the_same_idempotency_key_starts_one_report(acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    period, unit = ours.places()
    body = {"reportingPeriodId": period, "organizationUnitId": unit, "name": "Once"}
    answers = [
        ours.send("POST", REPORTS, json=body, headers={"Idempotency-Key": "k-1"}) for _ in "ab"
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json["id"] == answers[1].json["id"]


UNREADABLE: tuple[tuple[dict[str, Any], int], ...] = (
    ({"reportingPeriodId": None}, 422),
    ({"organizationUnitId": ""}, 422),
    ({"name": 7}, 422),
    ({"name": "x" * 201}, 422),
    ({"name": "\x00"}, 422),
    ({"reportType": "NOTHING"}, 422),
    ({"reportType": ["DATA_DUMP"]}, 422),
    ({"reportingPeriodId": "not an id"}, 404),
    ({"organizationUnitId": 12}, 404),
    ({"baseReportingPeriodId": str(uuid4())}, 404),
)


def test_a_start_that_cannot_be_read_says_why(acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    for change, status in UNREADABLE:
        answer = ours.start(**change)
        assert answer.status_code == status, answer.text
        assert answer.json["detail"]


def test_a_body_that_is_no_object_is_400(acme: str, caller: Callers) -> None:
    ours = caller("colleague")
    for body in (b"", b"[]", b"{", b"null"):
        answer = ours.send("POST", REPORTS, data=body, content_type="application/json")
        assert answer.status_code == 400


def test_a_new_company_has_a_root_and_no_periods(app: Flask, caller: Callers) -> None:
    viewer = caller("viewer")
    assert viewer.get(PERIODS).json == []
    (root,) = viewer.get("/api/organizational-units/v1/organizational-units").json
    assert (root["name"], root["parentId"]) == ("Acme", None)


def test_files_are_read_a_chunk_at_a_time(app: Flask, made: dict[str, Any]) -> None:
    with app.app_context():
        found = db.session.scalars(select(StoredFile).where(StoredFile.kind == "REPORT_DATA")).one()
        assert sum(map(len, read_chunks(found.id))) == found.size_bytes


def test_only_locked_periods_that_ended_long_ago_are_forgotten(app: Flask, acme: str) -> None:
    with app.app_context():
        app.config["INVENTORY_KEPT_MONTHS"] = 1
        newest, *older = db.session.scalars(select(Period).order_by(Period.end_date.desc())).all()
        kept = [newest.short_name, *(one.short_name for one in older[1:])]
        for one in (newest, older[0]):
            one.is_locked = True
            one.end_date = utcnow().date() if one is newest else one.end_date
        db.session.commit()
        retention.forget(service.kinds()["inventory"], lambda: None)
        assert sorted(db.session.scalars(select(Period.short_name))) == sorted(kept)
        left = db.session.scalars(select(Entry.period_key).distinct()).all()
        assert set(left) <= set(db.session.scalars(select(Period.key)))
