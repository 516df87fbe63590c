"""The pages of the list of reports among 100,000: each in the time of a few queries."""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from typing import Any

import flask_migrate
import sqlalchemy as sa

from benchmarks.local_stack import database, settings_of
from webapp import create_app
from webapp.accounts import create_user
from webapp.engine.models import Report, ReportEntry
from webapp.extensions import db
from webapp.jobs import Job
from webapp.lib.moments import utcnow

Row = dict[str, Any]
PASSWORD = "correct horse battery"
ROUNDS = 7
AT_ONCE = 5_000
STATUSES = ("done",) * 17 + ("incomplete", "failed", "cancelled")
PAGES = {
    "home": "/",
    "found by words": "/?q=partner+4711",
    "one status, oldest first": "/?status=failed&order=oldest",
    "a kind's place": "/kinds/partner-use",
    "the palette": "/search?q=saved",
}


def run(*, quick: bool = False) -> list[Row]:
    """Return the claims with what was measured. Shape: claim, measured, against, ratio, wanted."""
    count = 5_000 if quick else 100_000
    with database() as url, tempfile.TemporaryDirectory() as folder:
        app = create_app(settings_of(url, folder))
        with app.app_context():
            flask_migrate.upgrade()
            user = create_user("bench@example.com", "Bench", "expert", PASSWORD)
            company_id, user_id = user.home_company_id, user.id
            db.session.commit()
            fill(company_id, user_id, count)
            whole = sa.select(sa.func.count()).select_from(Job).where(Job.company_id == company_id)
            scan_s = timed(lambda: db.session.scalar(whole))
            db.session.remove()
        client = app.test_client()
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
        assert token
        form = {"csrf_token": token[1], "email": "bench@example.com", "password": PASSWORD}
        assert client.post("/login", data=form).status_code == 303
        rows = []
        for claim, address in PAGES.items():
            page_s = timed(lambda address=address: client.get(address))
            rows.append(
                {
                    "claim": f"{claim}, {count:,} reports",
                    "measured": f"{page_s * 1000:.0f} ms",
                    "against": f"counting them: {scan_s * 1000:.1f} ms",
                    "ratio": page_s / scan_s,
                    "wanted": "a few",
                }
            )
        return rows


def fill(company_id: str, user_id: str, count: int) -> None:
    """Put reports of half a year into the database."""
    now = utcnow()
    for first in range(0, count, AT_ONCE):
        jobs, reports, entries = [], [], []
        for number in range(first, min(first + AT_ONCE, count)):
            report_id, at = str(uuid.uuid4()), now - timedelta(minutes=2.5 * number)
            label = f"{70_000_000 + number % 9_000} summary"
            status = STATUSES[number % len(STATUSES)]
            owner = {"company_id": company_id, "user_id": user_id}
            moments = dict.fromkeys(("created_at", "queued_at", "started_at", "finished_at"), at)
            kind = {"id": report_id, "type": "report", "task": "partner-use", "status": status}
            jobs.append({**kind, **owner, **moments, "payload": {}})
            reports.append({"id": report_id, "label": label, "params": {}, "head": {}})
            words = f"partner use {label} partner {number}"
            entries.append({"report_id": report_id, "name": "", "tags": [], "words": words})
        for table, rows in ((Job, jobs), (Report, reports), (ReportEntry, entries)):
            db.session.execute(sa.insert(table.__table__), rows)
        db.session.commit()


def timed(do: Callable[[], object]) -> float:
    """Return the median time of doing something, in seconds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        do()
        times.append(time.perf_counter() - began)
    return median(times)
