"""The calendar, and the store of months: fresh, closed, fenced, expired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import find_scope
from webapp.engine import months
from webapp.engine.models import StoredMonth
from webapp.engine.months import MonthStore
from webapp.extensions import db
from webapp.lib.moments import utcnow
from webapp.lib.months import (
    current_month,
    is_closed,
    month_end,
    month_text,
    months_between,
    next_month,
    parse_month,
)

JANUARY = date(2025, 1, 1)
all_months = st.builds(date, st.integers(1970, 9998), st.integers(1, 12), st.just(1))
few = settings(max_examples=80)


@few
@given(all_months)
def test_a_month_is_read_back_as_it_is_written(month: date) -> None:
    assert parse_month(month_text(month)) == month


@few
@given(all_months, st.integers(-24, 24))
def test_going_forth_and_back_leads_home(month: date, by: int) -> None:
    if 1 < month.year + by // 12 < 9990:
        assert next_month(next_month(month, by), -by) == month


@few
@given(all_months, st.integers(0, 40))
def test_a_range_holds_both_its_ends_and_no_gap(month: date, count: int) -> None:
    if month.year < 9990:
        found = months_between(month, next_month(month, count))
        assert (found[0], found[-1], len(found)) == (month, next_month(month, count), count + 1)


def test_a_range_that_ends_before_it_starts_is_empty() -> None:
    assert months_between(date(2025, 2, 1), JANUARY) == []


@pytest.mark.parametrize(
    "text",
    ["2024-13", "2024-0", "", "2024", "2024-01-01", "٢٠٢٤-٠١", "٢٠٢٤-01", "1969-12", "0000-01"],
)
def test_what_is_no_month_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        parse_month(text)


def test_the_end_of_a_month_is_the_first_instant_after_it() -> None:
    assert month_end(date(2024, 12, 1)) == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_current_month_turns_at_midnight_utc() -> None:
    assert current_month(datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC)) == date(2024, 12, 1)
    assert current_month(datetime(2025, 1, 1, tzinfo=UTC)) == JANUARY


@pytest.mark.parametrize(("seconds", "closed"), [(-1, False), (0, False), (59, False), (60, True)])
def test_a_month_counts_as_closed_a_minute_after_its_end(seconds: int, closed: bool) -> None:
    assert is_closed(JANUARY, month_end(JANUARY) + timedelta(seconds=seconds)) is closed


# The store


@pytest.fixture
def store(app: Flask) -> Callable[..., MonthStore]:
    """Return a maker of somebody's store."""

    def make(who: str = "owner", kind: str = "partner-use", kept_days: float = 30) -> MonthStore:
        company = find_scope(app, who).company_id
        with app.app_context():
            return MonthStore(db.engine, company, kind, kept_days)

    return make


Store = Callable[..., MonthStore]


def counted(
    *items: str, month: date = JANUARY, value: Any = 1, at: datetime | None = None
) -> list[tuple[str, date, Any, datetime]]:
    return [(item, month, value, at or utcnow()) for item in items]


def keys(store: MonthStore, *items: str, subject: str = "p") -> set[tuple[str, str]]:
    found = store.fresh(subject, items, date(2024, 1, 1), date(2026, 1, 1))
    return {(item, month_text(month)) for item, month in found}


def test_what_was_saved_is_found_with_the_moment_it_was_counted(store: Store) -> None:
    at = utcnow() - timedelta(hours=5)
    assert store().save("p", counted("a", value=42, at=at)) == 1
    found = store().fresh("p", ["a"], JANUARY, JANUARY)["a", JANUARY]
    assert (found.value, found.counted_at) == (42, at)


def test_a_month_just_closed_is_not_stored(store: Store) -> None:
    early = month_end(JANUARY) + timedelta(seconds=59)
    assert store().save("p", counted("a", at=early)) == 0
    assert keys(store(), "a") == set()


def test_the_current_month_is_not_stored(store: Store) -> None:
    assert store().save("p", counted("a", month=current_month())) == 0


def test_only_the_items_asked_for_are_found(store: Store) -> None:
    store().save("p", counted("a", "b"))
    assert keys(store(), "b", "c") == {("b", "2025-01")}


def test_only_the_months_asked_for_are_found_both_ends_included(store: Store) -> None:
    for month in (1, 2, 3, 4):
        store().save("p", counted("a", month=date(2025, month, 1)))
    found = store().fresh("p", ["a"], date(2025, 2, 1), date(2025, 3, 1))
    assert sorted(month.month for _, month in found) == [2, 3]


def test_more_items_than_one_query_takes_are_found(store: Store) -> None:
    items = [f"site {number}" for number in range(1203)]
    store().save("p", counted(*items))
    assert len(keys(store(), *items)) == 1203


@pytest.mark.parametrize("other", [{"who": "stranger"}, {"kind": "inventory"}])
def test_another_company_and_another_kind_find_nothing(store: Store, other: dict[str, str]) -> None:
    store().save("p", counted("a"))
    assert keys(store(**other), "a") == set()


def test_another_subject_finds_nothing(store: Store) -> None:
    store().save("p", counted("a"))
    assert keys(store(), "a", subject="q") == set()


def test_an_expired_month_is_not_found(store: Store) -> None:
    store(kept_days=1).save("p", counted("a", at=utcnow() - timedelta(days=1, seconds=1)))
    assert keys(store(), "a") == set()


def test_with_zero_days_nothing_stays_fresh(store: Store) -> None:
    store(kept_days=0).save("p", counted("a"))
    assert keys(store(), "a") == set()


def test_a_newer_count_replaces_an_older_one(store: Store) -> None:
    store().save("p", counted("a", value=1, at=utcnow() - timedelta(hours=1)))
    store().save("p", counted("a", value=2))
    assert store().fresh("p", ["a"], JANUARY, JANUARY)["a", JANUARY].value == 2


def test_an_older_count_never_replaces_a_newer_one(store: Store) -> None:
    store().save("p", counted("a", value=2))
    store().save("p", counted("a", value=1, at=utcnow() - timedelta(hours=1)))
    assert store().fresh("p", ["a"], JANUARY, JANUARY)["a", JANUARY].value == 2


def test_of_two_counts_of_one_moment_the_later_one_stands(store: Store) -> None:
    at = utcnow()
    store().save("p", counted("a", value=1, at=at))
    store().save("p", counted("a", value=2, at=at))
    assert store().fresh("p", ["a"], JANUARY, JANUARY)["a", JANUARY].value == 2


def test_the_metrics_hear_what_was_counted_and_what_was_stored(app: Flask) -> None:
    told: list[tuple[str, int]] = []
    company_id = find_scope(app, "owner").company_id
    with app.app_context():
        store = MonthStore(
            db.engine, company_id, "partner-use", 30, count=lambda name, by: told.append((name, by))
        )
    store.save("p", counted("a", "b") + counted("c", month=current_month()))
    store.save("p", counted("c", month=current_month()))
    store.fresh("p", ["a", "b", "c"], JANUARY, JANUARY)
    assert told == [("counted", 2), ("stored", 2)]


# Forced expiry


@pytest.fixture
def filled(app: Flask, store: Store) -> Flask:
    """Fill the store: two partners of two items, three months, of two companies and kinds."""
    span = months_between(date(2024, 12, 1), date(2025, 2, 1))
    for who in ("owner", "stranger"):
        for kind in ("partner-use", "session-activity"):
            for subject in ("p", "q"):
                for month in span:
                    store(who, kind).save(
                        subject, counted(f"{subject}1", f"{subject}2", month=month)
                    )
    return app


@pytest.mark.parametrize(
    ("which", "count"),
    [
        ({}, 24),
        ({"kind": "partner-use"}, 12),
        ({"subject": "p"}, 12),
        ({"subject": "p1"}, 6),
        ({"subject": "nobody"}, 0),
        ({"start": date(2025, 1, 1)}, 16),
        ({"end": date(2024, 12, 1)}, 8),
        ({"start": date(2025, 1, 1), "end": date(2025, 1, 1), "kind": "partner-use"}, 4),
        ({"kind": "inventory"}, 0),
    ],
)
def test_exactly_what_is_named_expires(filled: Flask, which: dict[str, Any], count: int) -> None:
    company = find_scope(filled, "owner").company_id
    with filled.app_context():
        assert months.expire(company_id=company, **which) == count
        assert months.expire(company_id=company, **which) == 0
        left = sum(row["values"] for row in months.stored_overview(company))
    assert left == 24 - count


def test_expiring_leaves_other_companies_alone(filled: Flask) -> None:
    owner, stranger = (find_scope(filled, who).company_id for who in ("owner", "stranger"))
    with filled.app_context():
        months.expire(company_id=owner)
        assert sum(row["values"] for row in months.stored_overview(stranger)) == 24


def test_the_operators_command_expires_everywhere(filled: Flask) -> None:
    with filled.app_context():
        assert months.expire(company_id=None, kind="partner-use") == 24


def test_the_overview_has_a_row_for_each_kind_and_subject(filled: Flask) -> None:
    company = find_scope(filled, "owner").company_id
    with filled.app_context():
        rows = list(months.stored_overview(company))
    assert [(row["kind"], row["subject"], row["items"], row["values"]) for row in rows] == [
        ("partner-use", "p", 2, 6),
        ("partner-use", "q", 2, 6),
        ("session-activity", "p", 2, 6),
        ("session-activity", "q", 2, 6),
    ]
    assert (rows[0]["first_month"], rows[0]["last_month"]) == (
        date(2024, 12, 1),
        date(2025, 2, 1),
    )


def test_what_expired_long_ago_is_dropped(app: Flask, store: Store) -> None:
    store(kept_days=1).save("p", counted("old", at=utcnow() - timedelta(days=5)))
    store().save("p", counted("new"))
    with app.app_context():
        assert months.drop_expired(utcnow() - timedelta(days=1)) == 1
    assert keys(store(), "new") == {("new", "2025-01")}


def test_the_overview_leaves_out_what_has_expired(app: Flask, store: Store) -> None:
    at = utcnow() - timedelta(days=40)
    store().save("gone", counted("a", at=at))
    store().save("mixed", counted("a", at=at))
    store().save("mixed", counted("b"))
    with app.app_context():
        found = list(months.stored_overview(find_scope(app, "owner").company_id))
    assert [(row["subject"], row["values"], row["items"]) for row in found] == [("mixed", 1, 1)]


def test_only_fresh_months_are_counted_as_expired_and_the_others_go_along(
    app: Flask, store: Store
) -> None:
    store().save("p", counted("a", at=utcnow() - timedelta(days=40)))
    store().save("p", counted("b"))
    with app.app_context():
        company_id = find_scope(app, "owner").company_id
        assert months.expire(company_id=company_id) == 1
        assert db.session.query(StoredMonth).count() == 0
