"""The list of a company's reports: found by words, dates, person and more, a page at a time.

A page ends at a place, not at a number: the cursor names the last report shown, so a report made in
between neither repeats nor hides one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypedDict, Unpack

from sqlalchemy import func, select
from sqlalchemy.orm import defer

from webapp.accounts import Scope
from webapp.engine.models import STATUSES, Favourite, Report, ReportEntry
from webapp.engine.registry import kinds, readable
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.lib.keyset import cut, one_page, place, read_place

MAX_LIMIT = 100
MOST_WORDS = 8


class Wanted(TypedDict, total=False):
    """What a list is asked for; what is None or empty asks for nothing.

    status:       one, or several
    words:        each stands somewhere in a report's name, tags, kind, label or values asked with
    since, until: days (UTC) on which reports were asked for, both included
    favourites:   the caller's own alone
    """

    kind: str | None
    status: str | Sequence[str] | None
    words: str
    person: str | None
    tag: str | None
    since: date | None
    until: date | None
    favourites: bool


@dataclass(frozen=True)
class Page:
    """Reports in their order, and the cursor of the page after it, None at the end."""

    reports: list[Report]
    next_cursor: str | None


def list_reports(
    scope: Scope,
    *,
    limit: int = 20,
    cursor: str | None = None,
    oldest_first: bool = False,
    **wanted: Unpack[Wanted],
) -> Page:
    """Return a page of the reports the caller may read.

    limit:  1 to 100
    Raises: InvalidParams for an unknown kind or status, a limit out of bounds, a broken cursor
    """
    errors = {}
    kind, status = wanted.get("kind"), wanted.get("status")
    if kind and kind not in kinds():
        errors["kind"] = f"Choose one of {', '.join(kinds())}."
    if isinstance(status, str) and status and status not in STATUSES:
        errors["status"] = f"Choose one of {', '.join(STATUSES)}."
    if not 1 <= limit <= MAX_LIMIT:
        errors["limit"] = f"Write a number from 1 to {MAX_LIMIT}."
    if errors:
        raise InvalidParams(errors)
    # The head of a result may be large and no list shows it.
    query = select(Report).options(defer(Report.head)).where(*_report_conditions(scope, wanted))
    after = read_place(cursor) if cursor else None
    keys = (Report.created_at, Report.id)
    query = one_page(query, keys, after, limit, newest_first=not oldest_first)
    reports, more = cut(db.session.scalars(query).all(), limit)
    last = reports[-1] if more else None
    return Page(reports, place(last.created_at, last.id) if last else None)


def count_reports(scope: Scope, **wanted: Unpack[Wanted]) -> int:
    """Return how many reports a list of all of them would have."""
    query = select(func.count()).select_from(Report).where(*_report_conditions(scope, wanted))
    return db.session.scalar(query) or 0


def count_by_kind_and_status(scope: Scope) -> tuple[Counter[str], Counter[str]]:
    """Return how many reports the caller may see of each kind, and of each status."""
    # Of the job's columns alone: an index has them.
    job = db.metadata.tables["job"].c
    query = (
        select(job.task, job.status, func.count())
        .where(readable(scope), job.type == "report")
        .group_by(job.task, job.status)
    )
    by_kind: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    for kind, status, count in db.session.execute(query):
        by_kind[kind] += count
        by_status[status] += count
    return by_kind, by_status


def entries_of(reports: Sequence[Report]) -> dict[str, ReportEntry]:
    """Return what lists show of reports beside them, by the id of each."""
    ids = [report.id for report in reports]
    found = db.session.scalars(select(ReportEntry).where(ReportEntry.report_id.in_(ids)))
    return {entry.report_id: entry for entry in found}


def favourites_of(scope: Scope, reports: Sequence[Report]) -> set[str]:
    """Return the ids of those reports that the caller marked."""
    query = select(Favourite.report_id).where(
        Favourite.user_id == scope.user_id,
        Favourite.report_id.in_([report.id for report in reports]),
    )
    return set(db.session.scalars(query))


def _report_conditions(scope: Scope, wanted: Wanted) -> list[Any]:
    found: list[Any] = [readable(scope)]
    if kind := wanted.get("kind"):
        found.append(Report.kind == kind)
    if status := wanted.get("status"):
        found.append(Report.status.in_([status] if isinstance(status, str) else status))
    if person := wanted.get("person"):
        found.append(Report.requested_by == person)
    if since := wanted.get("since"):
        found.append(Report.created_at >= datetime.combine(since, time(), UTC))
    if (until := wanted.get("until")) and until < date.max:
        after = datetime.combine(until + timedelta(days=1), time(), UTC)
        found.append(Report.created_at < after)
    of_entry = [
        ReportEntry.words.contains(word, autoescape=True)
        for word in wanted.get("words", "").casefold().split()[:MOST_WORDS]
    ]
    if tag := wanted.get("tag"):
        of_entry.append(ReportEntry.words.contains(tag_words([tag]), autoescape=True))
    if of_entry:
        found.append(Report.id.in_(select(ReportEntry.report_id).where(*of_entry)))
    if wanted.get("favourites"):
        own = select(Favourite.report_id).where(Favourite.user_id == scope.user_id)
        found.append(Report.id.in_(own))
    return found


def tag_words(tags: Sequence[str]) -> str:
    """Return tags as they stand among the words of a report, so that each is found whole."""
    return "".join(f"#{tag.casefold()}#" for tag in tags)
