"""Helpers: other workers that take part in one large report.

The run that holds the lease stays the one that finishes the report. A helper is a job of its own
that is fenced by the same attempt; it finds out what the kind lets it, keeps that where the run
will look (stored months, Redis), and goes. A report that has no helper, or loses one, is made all
the same, by whoever is left.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app

from webapp.engine import jobs
from webapp.engine.models import RUNNING, Report
from webapp.engine.params import stored_params
from webapp.engine.runs import ActiveRun
from webapp.errors import ReportError, RunEnded
from webapp.extensions import db
from webapp.security import unseal

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)


class HelperRun(ActiveRun):
    """A run seen by a helper: the same fence; lines and counters are the run's own to write."""

    def _counters(self) -> dict[str, Any]:
        return {"attempt": self.attempt}

    def log(self, text: str, *, level: str = "info") -> None:
        self.check()

    def advance(self, text: str | None = None, *, by: int = 1) -> None:
        self.check()

    def call_helpers(self, hands: int) -> None:
        """A helper has no helpers."""


def help_report(report_id: str, attempt: int, number: int) -> None:
    """Take part in a running report: the RQ job. One that has ended meanwhile is left alone."""
    db.engine.dispose(close=False)
    help_running(report_id, attempt, number)


def help_running(report_id: str, attempt: int, number: int) -> None:
    """Take part in a running report in this process; `number` tells its helpers apart.

    A helper that fails is logged, not raised: the run finds what is missing, and says what failed.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    report = db.session.get(Report, report_id)
    if report is None or report.status != RUNNING or report.attempt != attempt:
        return
    kind = jobs.kinds()[report.kind]
    secrets: Mapping[str, str] = json.loads(unseal(report.sealed)) if report.sealed else {}
    run = HelperRun(app, report, dict(secrets))
    public = dict(report.params)
    db.session.remove()
    try:
        kind.help(stored_params(kind, public), run, jobs.context(), number)
    except RunEnded:
        log.info("report %s ended while it was helped", report_id)
    except ReportError as error:
        log.warning("a helper of report %s gave up: %s", report_id, type(error).__name__)
