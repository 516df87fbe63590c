"""Whose reports a list shows and where its pages end; whose report an idempotency key finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import select

from tests.conftest import add_people, find_scope
from tests.engine.engine_helpers import Steps, change
from webapp.accounts import Scope, User
from webapp.engine import service
from webapp.engine.listing import (
    Page,
    Wanted,
    count_by_kind_and_status,
    count_reports,
    entries_of,
    favourites_of,
    list_reports,
)
from webapp.engine.models import Report
from webapp.errors import InvalidParams, NotAllowed, NotFound
from webapp.extensions import db
from webapp.jobs import Job
from webapp.lib.moments import utcnow


class Own(Steps):
    """A kind whose reports their maker alone sees."""

    slug = "own"
    title = "Own"
    personal = True


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return an application with a kind that everybody sees and one that its maker alone sees."""
    app = make_app(report_kinds=(Steps(), Own()))
    add_people(app)
    return app


def ask(app: Flask, who: Scope, slug: str = "steps", key: str | None = None, **params: str) -> str:
    """Make a queued report and return its id."""
    with app.app_context():
        made = service.start_report(who, slug, params, idempotency_key=key, enqueue=False)
        return made.report.id


def listed(app: Flask, who: Scope, **how: object) -> list[str]:
    return ids(page(app, who, **how))


def page(app: Flask, who: Scope, **how: object) -> Page:
    with app.app_context():
        return list_reports(who, **how)  # type: ignore[arg-type]


def ids(found: Page) -> list[str]:
    return [report.id for report in found.reports]


def test_a_personal_report_is_in_its_makers_list_and_in_no_other(app: Flask) -> None:
    owner, colleague = find_scope(app, "owner"), find_scope(app, "colleague")
    mine, shared = ask(app, owner, "own"), ask(app, owner)
    theirs = ask(app, colleague, "own")
    assert set(listed(app, owner)) == {mine, shared}
    assert set(listed(app, colleague)) == {theirs, shared}
    assert listed(app, owner, kind="own") == [mine]
    with app.app_context():
        assert service.find_report(owner, mine).id == mine
        with pytest.raises(NotFound):
            service.find_report(colleague, mine)


def test_a_list_holds_the_reports_of_ones_own_company_alone(app: Flask) -> None:
    owner, stranger = find_scope(app, "owner"), find_scope(app, "stranger")
    mine, foreign = ask(app, owner), ask(app, stranger)
    assert (listed(app, owner), listed(app, stranger)) == ([mine], [foreign])
    # The same person in another company sees what belongs to that one.
    assert listed(app, replace(owner, company_id=stranger.company_id)) == [foreign]


def test_the_last_page_says_that_it_is_the_last_also_when_it_is_full(app: Flask) -> None:
    owner = find_scope(app, "owner")
    made = {ask(app, owner) for _ in range(4)}
    first = page(app, owner, limit=2)
    last = page(app, owner, limit=2, cursor=first.next_cursor)
    assert first.next_cursor is not None
    assert (len(last.reports), last.next_cursor) == (2, None)
    assert {*ids(first), *ids(last)} == made
    assert page(app, owner, limit=4).next_cursor is None
    assert page(app, owner, limit=3).next_cursor is not None


def test_reports_of_the_same_moment_are_neither_repeated_nor_skipped(app: Flask) -> None:
    owner = find_scope(app, "owner")
    made = [ask(app, owner) for _ in range(5)]
    at = utcnow()
    for report_id in made:
        change(app, report_id, created_at=at)
    found: list[str] = []
    cursor = None
    for _ in range(5):
        one = page(app, owner, limit=1, cursor=cursor)
        found += ids(one)
        cursor = one.next_cursor
    assert cursor is None
    assert found == sorted(made, reverse=True)


def test_a_list_is_cut_by_kind_and_by_status(app: Flask) -> None:
    owner = find_scope(app, "owner")
    waiting, failed, own = ask(app, owner), ask(app, owner), ask(app, owner, "own")
    change(app, failed, status="failed")
    assert set(listed(app, owner, status="queued")) == {waiting, own}
    assert listed(app, owner, status="failed") == [failed]
    assert listed(app, owner, kind="own", status="queued") == [own]
    assert listed(app, owner, kind="own", status="failed") == []


def test_a_list_is_found_by_all_it_is_asked_for_and_counted(app: Flask) -> None:
    owner, colleague = find_scope(app, "owner"), find_scope(app, "colleague")
    mine, theirs, private = ask(app, owner), ask(app, colleague), ask(app, colleague, "own")
    change(app, mine, created_at=datetime(2026, 3, 5, 0, 0, tzinfo=UTC), status="failed")
    change(app, theirs, created_at=datetime(2026, 3, 6, 23, 59, 59, tzinfo=UTC))
    with app.app_context():
        service.name_report(owner, mine, "Spring 100%", ["Board", "ready"])
        service.mark_report(owner, mine)
        service.mark_report(colleague, theirs)
        # Work that is no report is counted nowhere.
        db.session.add(Job(id=str(uuid4()), task="steps", company_id=owner.company_id))
        db.session.commit()
    found: list[tuple[Wanted, list[str]]] = [
        ({"person": owner.user_id}, [mine]),
        ({"person": colleague.user_id}, [theirs]),
        ({"words": "100% SPRING"}, [mine]),
        ({"words": "spring autumn"}, []),
        ({"tag": "board"}, [mine]),
        ({"tag": "boar"}, []),
        ({"since": date(2026, 3, 6)}, [theirs]),
        ({"until": date(2026, 3, 5)}, [mine]),
        ({"since": date(2026, 3, 5), "until": date(2026, 3, 6)}, [theirs, mine]),
        ({"until": date.max}, [theirs, mine]),
        ({"favourites": True}, [mine]),
        ({"status": ["failed", "done"]}, [mine]),
        ({"status": ""}, [theirs, mine]),
    ]
    for wanted, expected in found:
        assert listed(app, owner, **wanted) == expected, wanted
        with app.app_context():
            assert count_reports(owner, **wanted) == len(expected), wanted
    assert listed(app, owner, oldest_first=True) == [mine, theirs]
    with app.app_context():
        reports = list_reports(owner).reports
        assert {entry.name for entry in entries_of(reports).values()} == {"Spring 100%", ""}
        assert favourites_of(owner, reports) == {mine}
        assert count_by_kind_and_status(owner) == ({"steps": 2}, {"failed": 1, "queued": 1})
        by_kind, _ = count_by_kind_and_status(colleague)
        assert by_kind == {"steps": 2, "own": 1}
        assert service.mark_report(owner, mine) is False
        db.session.commit()
    assert listed(app, owner, favourites=True) == []
    assert private not in listed(app, owner)


@pytest.mark.parametrize(
    ("name", "tags", "wrong"),
    [
        ("n" * 120, ["t" * 40], set()),
        ("n" * 121, ["t" * 40], {"name"}),
        ("", ["t" * 41], {"tags"}),
        ("", [str(number) for number in range(12)] * 2, set()),
        ("n" * 121, [str(number) for number in range(13)], {"name", "tags"}),
    ],
)
def test_a_name_and_tags_have_a_length(
    app: Flask, name: str, tags: list[str], wrong: set[str]
) -> None:
    owner = find_scope(app, "owner")
    report_id = ask(app, owner)
    with app.app_context():
        if not wrong:
            service.name_report(owner, report_id, name, tags)
            return
        with pytest.raises(InvalidParams) as refused:
            service.name_report(owner, report_id, name, tags)
        assert set(refused.value.errors) == wrong


def test_with_somebody_go_the_reports_that_they_alone_may_find(app: Flask) -> None:
    owner, colleague = find_scope(app, "owner"), find_scope(app, "colleague")
    personal, shared = ask(app, owner, "own"), ask(app, owner)
    others = ask(app, colleague, "own")
    with app.app_context():
        service.forget_personal_reports(None, user=db.session.get_one(User, owner.user_id))
        left = db.session.scalars(select(Report.id)).all()
    assert set(left) == {shared, others}
    assert personal not in left


def test_an_unknown_kind_or_status_is_refused_beside_its_name(app: Flask) -> None:
    owner = find_scope(app, "owner")
    with pytest.raises(InvalidParams) as refused:
        page(app, owner, kind="none", status="none")
    assert set(refused.value.errors) == {"kind", "status"}


def test_a_page_has_one_to_a_hundred_reports_and_twenty_unasked(app: Flask) -> None:
    owner = find_scope(app, "owner")
    for _ in range(21):
        ask(app, owner)
    assert len(listed(app, owner)) == 20
    assert len(listed(app, owner, limit=1)) == 1
    assert len(listed(app, owner, limit=100)) == 21
    for limit in (0, 101):
        with pytest.raises(InvalidParams) as refused:
            page(app, owner, limit=limit)
        assert set(refused.value.errors) == {"limit"}


# The idempotency key


def test_a_key_finds_its_report_again_for_its_sender_in_that_company_only(app: Flask) -> None:
    owner, colleague = find_scope(app, "owner"), find_scope(app, "colleague")
    elsewhere = replace(owner, company_id=find_scope(app, "stranger").company_id)
    mine = ask(app, owner, key="k")
    assert ask(app, owner, key="k") == mine
    others = {ask(app, colleague, key="k"), ask(app, elsewhere, key="k")}
    assert len(others | {mine}) == 3
    assert ask(app, owner, key="other") not in others | {mine}
    assert ask(app, owner, key="k") == mine


def test_a_key_with_another_body_or_of_another_kind_is_refused(app: Flask) -> None:
    owner = find_scope(app, "owner")
    ask(app, owner, key="k", title="a")
    for slug, title in (("steps", "b"), ("own", "a")):
        with pytest.raises(InvalidParams, match="another body"):
            ask(app, owner, slug, key="k", title=title)


def test_a_key_has_at_most_255_characters(app: Flask) -> None:
    owner = find_scope(app, "owner")
    assert ask(app, owner, key="k" * 255) == ask(app, owner, key="k" * 255)
    with pytest.raises(InvalidParams, match="255"):
        ask(app, owner, key="k" * 256)


def test_a_viewer_neither_makes_cancels_nor_deletes(app: Flask) -> None:
    owner, viewer = find_scope(app, "owner"), find_scope(app, "viewer")
    waiting, ended = ask(app, owner), ask(app, owner)
    change(app, ended, status="done", finished_at=utcnow() - timedelta(hours=1))
    with app.app_context():
        for act in (
            lambda: service.start_report(viewer, "steps", {}, enqueue=False),
            lambda: service.cancel_report(viewer, waiting),
            lambda: service.delete_report(viewer, ended),
        ):
            with pytest.raises(NotAllowed):
                act()
        assert service.find_report(viewer, waiting).status == "queued"
        assert service.find_report(viewer, ended).status == "done"
