"""How a report ends: what a failed or cancelled retry leaves, and what the last line says."""

from __future__ import annotations

from flask import Flask

from tests.engine.engine_house import change, lines, run, start

HUSH = "hush-hush-canary-4711"


def test_a_secret_that_cannot_be_unsealed_fails_the_report_at_once(steps: Flask) -> None:
    report_id = start(steps, password=HUSH)
    change(steps, report_id, sealed="gAAAAA")
    report = run(steps, report_id)
    assert (report.status, report.sealed) == ("failed", None)
    assert "SECRET_KEY" in (report.error or "")
    assert "worker" not in (report.error or "")
    assert len(lines(steps, report_id)) == 1
