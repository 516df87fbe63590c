"""Streams as platforms and distributors write them go in by saying which column is which."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
from flask import Flask
from sqlalchemy import select
from test_label_revenue_pages import send, state, upload

from tests.job_helpers import run_jobs
from webapp.extensions import db
from webapp.kinds.label_revenue.models import Stream

FILES = Path(__file__).resolve().parents[3] / "docs" / "examples" / "files"


def streams(app: Flask) -> list[tuple[Any, ...]]:
    with app.app_context():
        columns = (Stream.date, Stream.user_id, Stream.region, Stream.track_id, Stream.seconds)
        return [tuple(row) for row in db.session.execute(select(*columns).order_by(*columns))]


def loaded(app: Flask, owner: Any, path: str, **said: str) -> None:
    assert send(owner, path, **said).status_code == 303
    run_jobs(app)
    assert state(app, path).status == "loaded", owner.get(path).text


def test_a_platforms_log_has_times_and_milliseconds(app: Flask, client_for: Any) -> None:
    owner = client_for("owner")
    path = upload(owner, streams=(FILES / "streams-platform.csv").read_bytes()).location
    run_jobs(app)
    guessed = "Guessed from the cells below: date from “ts”, region from “conn country”"
    assert guessed in owner.get(path).text
    said = {"streams.mapped": "true", "streams.column.date": "0", "streams.column.region": "2"}
    # Streams take no notes, whoever asks for some.
    said["streams.note"] = "5"
    loaded(app, owner, path, **said)
    assert streams(app) == [
        (date(2025, 3, 13), 5001, "NL", "QM24S2500001", 205),
        (date(2025, 3, 13), 5001, "NL", "QM24S2500002", 187),
        (date(2025, 3, 14), 5002, "BE", "QM24S2500001", 61),
    ]


def test_an_error_in_a_column_that_is_not_used_refuses_its_row(app: Flask, client_for: Any) -> None:
    owner, book, content = client_for("owner"), openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for row in (
        ["date", "user_id", "region", "track_id", "seconds", "Share"],
        ["2025-03-13", 1, "NL", "T-1", 10, "#DIV/0!"],
        ["2025-03-13", 2, "NL", "T-1", 10, 0.5],
    ):
        book.active.append(row)
    book.save(content)
    path = upload(owner, streams=content.getvalue()).location
    run_jobs(app)
    assert "F2 holds the error #DIV/0!; correct the formula" in owner.get(path).text
    assert "F2 holds the error" in owner.get(f"{path}/rejected.csv").text
    assert send(owner, path).status_code == 422
    loaded(app, owner, path, skip_bad="true")
    assert [stream[1] for stream in streams(app)] == [2]


def test_a_distributors_sheet_has_titles_and_minutes_and_is_known_the_next_time(
    app: Flask, client_for: Any
) -> None:
    owner, content = client_for("owner"), (FILES / "streams-distributor.csv").read_bytes()
    path = upload(owner, streams=content).location
    run_jobs(app)
    page = owner.get(path).text
    assert "header in line 4" in page
    said = {"streams.mapped": "true", "streams.column.seconds": "6"}
    loaded(app, owner, path, **said, **{"streams.save_as": "Northern"})
    assert streams(app) == [
        (date(2025, 3, 13), 5001, "DE", "QM24S2500001", 205),
        (date(2025, 3, 14), 5003, "DE", "QM24S2500002", 3723),
    ]
    again = upload(owner, streams=content.replace(b"3:25", b"4:25")).location
    run_jobs(app)
    page = owner.get(again).text
    assert "as saved under “Northern”" in page
    assert "2 lines: 2 can be stored, 0 cannot" in page
