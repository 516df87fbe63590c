"""For how many months kinds keep their facts, each by a setting of its own; 0 is for good.

Whole months are forgotten, at night. From which month on a kind's facts are whole is kept for the
installation before the first of them goes, so that nothing is counted of what is not there any
more. It only ever moves on: a larger number later brings nothing back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from flask import current_app

from webapp import installation
from webapp.engine.kind import ReportKind
from webapp.lib.months import current_month, month_text, next_month

BEGINNING = date(1970, 1, 1)


def kept_from(slug: str) -> date:
    """Return the first month of which a kind's facts are whole."""
    kept = installation.find_fact(f"kept {slug}")
    return date.fromisoformat(kept) if kept else BEGINNING


def not_kept(slug: str, day: date, what: str) -> str:
    """Return a sentence where a kind forgot what it knew of a day, else an empty text."""
    first = kept_from(slug)
    return f"{what} before {month_text(first)} are not kept any more." if day < first else ""


def months_kept(kind: ReportKind) -> int:
    """Return for how many months a kind keeps its facts; 0 for good."""
    return int(current_app.config[kind.kept_setting]) if kind.kept_setting else 0


def forget(kind: ReportKind, check: Callable[[], object]) -> None:
    """Let a kind forget months that are older than its setting says, a little at a time.

    check: called after each step; raises where the job shall not go on
    """
    if not (months := months_kept(kind)):
        return
    first = max(kept_from(kind.slug), next_month(current_month(), -months))
    installation.keep_fact(f"kept {kind.slug}", first.isoformat())
    for _ in kind.forget_before(first):
        check()
