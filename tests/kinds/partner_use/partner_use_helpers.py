"""What the tests of this room share: reports made and read back as their readers see them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Flask
from sqlalchemy import select

from sandbox import truth
from tests.conftest import find_scope
from webapp import jobs
from webapp.accounts import Scope
from webapp.engine import export, service
from webapp.engine.models import Report, StoredMonth
from webapp.engine.results import ReadResult
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.jobs import StatusLine
from webapp.lib.months import current_month, month_text, next_month

PARTIAL = {"user_key": "partial-user-key", "user_secret": "cGFydGlhbC1zZWNyZXQ="}
NOW = month_text(current_month())


def ago(months: int) -> str:
    """Return the month so many months ago, as text."""
    return month_text(next_month(current_month(), -months))


@dataclass(frozen=True)
class Made:
    """An ended report: what its row says, its JSON document and its lines."""

    id: str
    status: str
    error: str | None
    result: dict[str, Any]
    lines: list[str]
    sealed: str | None

    @property
    def sites(self) -> dict[str, dict[str, Any]]:
        return {site["site_id"]: site for site in self.result["sites"]}

    @property
    def months(self) -> dict[str, dict[str, Any]]:
        return {row["month"]: row for row in self.result["months"]}

    def total(self, month: str) -> int | None:
        found: int | None = self.months[month]["total_users"]
        return found

    def csv(self, app: Flask, by: str | None = None) -> str:
        with app.app_context():
            report = db.session.get_one(Report, self.id)
            sheet = export.sheet_named(service.kinds()[report.kind], ReadResult(report), by)
            return b"".join(export.csv_chunks(sheet)).decode()


class Maker:
    """Makes reports in this process; the partner is the stand-in, over HTTP."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def make(self, params: dict[str, Any], who: str = "owner") -> Made:
        """Make a report and run it to its end."""
        with self.app.app_context():
            started = service.start_report(self.scope(who), "partner-use", params, enqueue=False)
            return self._run(started.report.id)

    def retry(self, made: Made, secrets: dict[str, str], who: str = "owner") -> Made:
        """Try an ended report again, to its end."""
        with self.app.app_context():
            service.retry_report(self.scope(who), made.id, secrets)
            return self._run(made.id)

    def scope(self, who: str) -> Scope:
        return find_scope(self.app, who)

    def _run(self, report_id: str) -> Made:
        with suppress(ReportError):
            jobs.run_queued(report_id)
        return self.read(report_id)

    def read(self, report_id: str) -> Made:
        """Read a report back."""
        db.session.expire_all()
        report = db.session.get_one(Report, report_id)
        lines = db.session.scalars(
            select(StatusLine.text).where(StatusLine.job_id == report_id).order_by(StatusLine.seq)
        )
        result = {}
        if report.has_result:
            chunks = export.json_chunks(service.kinds()[report.kind], report, ReadResult(report))
            result = json.loads(b"".join(chunks))
        return Made(report.id, report.status, report.error, result, list(lines), report.sealed)

    def stored(self) -> list[StoredMonth]:
        """Return all stored months."""
        with self.app.app_context():
            return list(db.session.scalars(select(StoredMonth)))


def counted_ids(partner: int, user_key: str = truth.DEMO_KEY) -> set[str]:
    """Return the sites of a partner that a report counts."""
    return {
        str(site.site_id)
        for site in truth.sites(partner, user_key=user_key)
        if not truth.is_child(site) and truth.problem(site) is None
    }
