"""Counts and dates: believed when they are as documented, an error when they are not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bad_server import BadServer, answer, http, raw
from partner_helpers import Talk

from webapp.errors import PartnerContract
from webapp.partner.searches import (
    Count,
    Created,
    count_accounts,
    created_between,
    last_login,
    newest_account,
)
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site
from webapp.partner.values import from_partner, is_never, to_partner

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
Search = Callable[[PartnerSession, Site], Any]


def count_of(session: PartnerSession, site: Site) -> Count:
    return session.ask(count_accounts(site))


def last_created(session: PartnerSession, site: Site) -> datetime | None:
    return session.ask(newest_account(site)).created


def latest_login(session: PartnerSession, site: Site) -> datetime | None:
    return session.ask(last_login(site))


def searched(
    server: BadServer, session: PartnerSession, site: Site, search: Search, **body: Any
) -> Any:
    server.plays(answer(body))
    return search(session, site)


def test_a_count_is_asked_at_the_sites_data_centre(
    server: BadServer, session: PartnerSession, site: Site
) -> None:
    server.plays(answer({"results": [{"count(*)": 48213}], "objectsCount": 1, "totalCount": 48213}))
    before = datetime.now(UTC)
    count = session.ask(count_accounts(site))
    assert count.value == 48213
    assert before <= count.counted_at <= datetime.now(UTC)
    (asked,) = server.asked
    assert asked.path == "/accounts.eu1/accounts.search"
    assert asked.form["query"] == "SELECT count(*) FROM accounts"
    assert asked.form["apiKey"] == site.api_key


def test_a_count_before_a_moment_names_it_in_utc(
    server: BadServer, session: PartnerSession, site: Site
) -> None:
    server.plays(answer({"results": [{"count(*)": 0}], "totalCount": 0}))
    berlin = timezone(timedelta(hours=1))
    assert session.ask(count_accounts(site, datetime(2024, 1, 1, 1, tzinfo=berlin))).value == 0
    assert server.asked[0].form["query"] == (
        'SELECT count(*) FROM accounts WHERE created < "2024-01-01T00:00:00.000Z"'
    )


@pytest.mark.parametrize(
    "results",
    [
        [{"count(*)": "5"}],
        [{"count(*)": 5.0}],
        [{"count(*)": 5.5}],
        [{"count(*)": -1}],
        [{"count(*)": True}],
        [{"count(*)": None}],
        [{"count(*)": 10**20}],
        [{"count(*)": [5]}],
        [{"count": 5}],
        [{}],
        [],
        None,
        {"count(*)": 5},
        "5",
        [5],
        [None],
        [{"count(*)": 5}, {"count(*)": 5}],
    ],
)
def test_a_count_that_is_no_count_is_an_error_never_a_number(
    talk: Talk, server: BadServer, site: Site, results: Any
) -> None:
    session = talk.session()
    with pytest.raises(PartnerContract, match="cannot be used") as caught:
        searched(server, session, site, count_of, results=results)
    assert caught.value.call_id
    assert talk.sent == 1


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e400", b"5e0"])
def test_numbers_only_python_would_read_are_errors(
    server: BadServer, session: PartnerSession, site: Site, number: bytes
) -> None:
    server.plays(raw(http(b'{"errorCode": 0, "results": [{"count(*)": ' + number + b"}]}")))
    with pytest.raises(PartnerContract):
        session.ask(count_accounts(site))


@pytest.mark.parametrize("total", [6, "5", -1, 5.0, True, 1])
def test_a_total_that_differs_from_the_count_is_told_once_and_used_no_more(
    talk: Talk, server: BadServer, site: Site, total: Any
) -> None:
    """A server that sent 1 there emptied the report."""
    session = talk.session()
    for _ in range(3):
        body = {"results": [{"count(*)": 5}], "totalCount": total}
        assert searched(server, session, site, count_of, **body).value == 5
    assert len(talk.notices) == 1
    rows = days("01-01")
    found = searched(server, session, site, two_of_january, results=rows, totalCount=1)
    assert (len(found.dates), found.whole) == (1, False)


@pytest.mark.parametrize("number", [2**53 - 1, 2**53 + 1, 2**63 - 1])
def test_a_large_count_is_exact(
    server: BadServer, session: PartnerSession, site: Site, number: int
) -> None:
    body = {"results": [{"count(*)": number}], "totalCount": number}
    assert searched(server, session, site, count_of, **body).value == number


def test_the_newest_account(server: BadServer, session: PartnerSession, site: Site) -> None:
    row = {"UID": "a1", "created": "2025-03-04T09:58:01.12Z"}
    found = searched(server, session, site, last_created, results=[row], totalCount=48213)
    assert found == datetime(2025, 3, 4, 9, 58, 1, 120_000, UTC)
    assert server.asked[0].form["query"] == (
        "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1"
    )


@pytest.mark.parametrize(
    "body", [{"results": [], "totalCount": 0}, {}, {"results": []}, {"totalCount": 0}]
)
@pytest.mark.parametrize("search", [last_created, latest_login])
def test_a_site_without_accounts_has_no_dates(
    server: BadServer, session: PartnerSession, site: Site, search: Search, body: Any
) -> None:
    assert searched(server, session, site, search, **body) is None


@pytest.mark.parametrize("search", [last_created, latest_login])
@pytest.mark.parametrize(
    "body",
    [
        {"totalCount": 5},
        {"results": [], "totalCount": 5},
        {"results": [{}, {}], "totalCount": 5},
        {"results": "x"},
        {"results": [{"created": "yesterday", "lastLogin": "yesterday"}]},
        {"results": [{"created": 17, "lastLogin": 17}]},
        {"results": [{"created": "2024-13-01T00:00:00Z", "lastLogin": "2024-02-30T00:00:00Z"}]},
    ],
)
def test_dates_that_are_none_are_errors(
    server: BadServer, session: PartnerSession, site: Site, search: Search, body: Any
) -> None:
    with pytest.raises(PartnerContract):
        searched(server, session, site, search, **body)


def test_an_account_without_a_creation_date_is_an_error(
    server: BadServer, session: PartnerSession, site: Site
) -> None:
    with pytest.raises(PartnerContract, match="created"):
        searched(server, session, site, last_created, results=[{"UID": "a"}])


def test_the_latest_login(server: BadServer, session: PartnerSession, site: Site) -> None:
    row = {"UID": "a1", "lastLogin": "2025-03-04T09:58:01.1234567Z"}
    found = searched(server, session, site, latest_login, results=[row], totalCount=3)
    assert found == datetime(2025, 3, 4, 9, 58, 1, 123_456, UTC)
    assert server.asked[0].form["query"] == (
        "SELECT UID, lastLogin FROM accounts ORDER BY lastLogin DESC LIMIT 1"
    )


@pytest.mark.parametrize(
    "row",
    [
        {"lastLogin": "0001-01-01T00:00:00Z"},
        {"lastLogin": "0001-01-01T00:00:00.000Z"},
        {"lastLogin": "1970-01-01T00:00:00.000Z"},
        {"lastLogin": "0000-00-00T00:00:00Z"},
        {"lastLogin": None},
        {"lastLogin": ""},
        {"lastLogin": 0},
        {},
    ],
)
def test_never_in_all_its_forms_is_none(
    server: BadServer, session: PartnerSession, site: Site, row: Any
) -> None:
    assert searched(server, session, site, latest_login, results=[{"UID": "a", **row}]) is None


def two_of_january(session: PartnerSession, site: Site) -> Created:
    return session.ask(created_between(site, NEW_YEAR, datetime(2024, 2, 1, tzinfo=UTC), 2))


def days(*numbers: str) -> list[dict[str, str]]:
    return [{"created": f"2024-{number}T00:00:00Z"} for number in numbers]


def test_creation_dates_of_a_stretch(
    server: BadServer, session: PartnerSession, site: Site
) -> None:
    rows = days("01-01", "01-31")
    found = searched(server, session, site, two_of_january, results=rows, totalCount=900)
    assert found.dates == [NEW_YEAR, datetime(2024, 1, 31, tzinfo=UTC)]
    assert server.asked[0].form["query"] == (
        'SELECT created FROM accounts WHERE created >= "2024-01-01T00:00:00.000Z"'
        ' AND created < "2024-02-01T00:00:00.000Z" ORDER BY created LIMIT 2'
    )
    assert searched(server, session, site, two_of_january, results=[], totalCount=0).dates == []
    twins = searched(server, session, site, two_of_january, results=days("01-03", "01-03"))
    assert len(twins.dates) == 2


@pytest.mark.parametrize(
    ("total", "whole"), [({"totalCount": 2}, True), ({"totalCount": 3}, False), ({}, False)]
)
def test_dates_are_whole_only_when_the_partner_says_so(
    server: BadServer, session: PartnerSession, site: Site, total: dict[str, int], whole: bool
) -> None:
    rows = days("01-01", "01-31")
    found = searched(server, session, site, two_of_january, results=rows, **total)
    assert (len(found.dates), found.whole) == (2, whole)
    assert abs(datetime.now(UTC) - found.asked_at).total_seconds() < 60


@pytest.mark.parametrize(
    "body",
    [
        {"results": days("01-02", "01-01")},
        {"results": days("01-02", "02-01")},
        {"results": days("01-02", "01-03", "01-04")},
        {"results": days("01-02"), "totalCount": 2},
        {"results": [{"UID": "a"}]},
    ],
    ids=["order", "range", "too many", "too few", "no date"],
)
def test_rows_that_do_not_add_up_are_errors(
    server: BadServer, session: PartnerSession, site: Site, body: Any
) -> None:
    with pytest.raises(PartnerContract):
        searched(server, session, site, two_of_january, **body)


@pytest.mark.parametrize("limit", [0, -1, 5001])
def test_a_limit_outside_the_partners_is_our_own_mistake(
    session: PartnerSession, site: Site, limit: int
) -> None:
    with pytest.raises(ValueError, match="limit"):
        session.ask(created_between(site, NEW_YEAR, NEW_YEAR, limit))


# -- dates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("", 0),
        (".1", 100_000),
        (".12", 120_000),
        (".123", 123_000),
        (".1234567", 123_456),
    ],
)
def test_fractions_of_zero_to_seven_digits_are_read(text: str, micro: int) -> None:
    assert from_partner(f"2024-02-29T23:59:59{text}Z") == datetime(
        2024, 2, 29, 23, 59, 59, micro, UTC
    )


def test_a_moment_with_an_offset_is_a_moment() -> None:
    moment = from_partner("2024-05-01T10:00:00.000+02:00")
    assert moment == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T23:59:59.12345678Z", "2023-02-29T00:00:00Z", "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00+24:00", "0001-01-01T00:00:00+02:00",
        " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z\n",
        "٢٠٢٤-01-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00.Z",
        "", None, 5, True, [],
    ],
)  # fmt: skip
def test_what_is_no_moment_is_none(text: Any) -> None:
    assert from_partner(text) is None


def test_moments_are_written_padded_and_cut_to_milliseconds() -> None:
    assert to_partner(datetime(987, 2, 3, 4, 5, 6, 999_999, UTC)) == "0987-02-03T04:05:06.999Z"
    with pytest.raises(ValueError, match="zone"):
        to_partner(datetime(2024, 1, 1))  # noqa: DTZ001


def test_false_is_not_never() -> None:
    assert not is_never(False)
