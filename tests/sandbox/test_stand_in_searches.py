"""Searches: the grammar, the shapes of the answers, and that the numbers are the known truth."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sandbox import truth
from sandbox.partners import Site

COUNT = "SELECT count(*) FROM accounts"


def small(position: int) -> Site:
    return truth.sites(70000001)[position]


def counted(answer: dict[str, Any]) -> int:
    assert answer["errorCode"] == 0, answer
    assert answer["objectsCount"] == 1
    assert answer["results"] == [{"count(*)": answer["totalCount"]}]
    return answer["totalCount"]


@pytest.mark.parametrize("position", [0, 1, 3, 4, 5])
def test_counts_are_the_truth(call: Any, position: int) -> None:
    site = small(position)
    assert counted(call.search(site, COUNT)) == truth.count(site)
    assert counted(call.search(site, f'{COUNT} WHERE created < "2024-01-01T00:00:00.000Z"')) == (
        truth.total_users(site, "2023-12")
    )


@pytest.mark.parametrize(
    "condition",
    [
        'created < "2024-01-01T00:00:00.000Z"',
        "created < '2024-01-01T00:00:00.000Z'",
        'created < "2024-01-01"',
        'created <= "2023-12-31T23:59:59.999Z"',
        "createdTimestamp < 1704067200000",
        'createdTimestamp<=1704067199999 and created >= "2001-01-01T00:00:00Z"',
        'created < "2023-12-31T23:59:59.9990001Z"',
    ],
)
def test_a_moment_may_be_written_in_many_ways(call: Any, condition: str) -> None:
    site = small(0)
    expected = truth.total_users(site, "2023-12")
    assert counted(call.search(site, f"{COUNT} WHERE {condition}")) == expected


def test_two_conditions_meet(call: Any) -> None:
    site = small(0)
    where = 'created >= "2023-03-01T00:00:00Z" AND created < "2023-04-01T00:00:00Z"'
    gained = truth.total_users(site, "2023-03") - truth.total_users(site, "2023-02")
    assert counted(call.search(site, f"{COUNT} WHERE {where}")) == gained
    answer = call.search(
        site, f"SELECT created FROM accounts WHERE {where} ORDER BY created LIMIT 5000"
    )
    assert answer["objectsCount"] == len(answer["results"]) == answer["totalCount"] == gained
    dates = [row["created"][:19] for row in answer["results"]]
    assert dates == sorted(dates)
    assert all(date.startswith("2023-03-") for date in dates)


def test_rows_are_300_unless_said_and_never_more_than_5000(call: Any) -> None:
    site = small(0)
    total = truth.count(site)
    for query, rows in (("", 300), ("LIMIT 7", 7), ("LIMIT 10000", 5000), ("LIMIT 0", 0)):
        answer = call.search(site, f"SELECT created FROM accounts ORDER BY created {query}")
        assert answer["objectsCount"] == len(answer["results"]) == rows
        assert answer["totalCount"] == total


def test_start_skips_rows(call: Any) -> None:
    site = small(3)
    rows = call.search(site, "SELECT created FROM accounts ORDER BY created LIMIT 10")["results"]
    later = call.search(site, "SELECT created FROM accounts ORDER BY created START 4 LIMIT 6")
    assert later["results"] == rows[4:]


def test_the_newest_account_and_sign_in(call: Any) -> None:
    site = small(0)
    row = call.search(site, "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1")
    made = truth.last_created(site)
    assert made is not None
    assert row["results"][0]["created"].startswith(made.isoformat()[:19])
    assert len(row["results"][0]["UID"]) == 32
    row = call.search(site, "select UID, lastLogin from accounts order by lastLogin desc limit 1")
    login = truth.last_login(site)
    assert login is not None
    assert row["results"][0]["lastLogin"].startswith(login.isoformat()[:19])
    assert row["totalCount"] == truth.count(site)


def test_selecting_created_in_the_order_of_sign_ins_gives_no_sign_in(call: Any) -> None:
    row = call.search(
        small(3), "SELECT UID, created FROM accounts ORDER BY lastLogin DESC LIMIT 1"
    )["results"][0]
    assert set(row) == {"UID", "created"}


def test_a_site_without_sign_ins_says_year_one_or_nothing(call: Any) -> None:
    query = "SELECT UID, lastLogin FROM accounts ORDER BY lastLogin DESC LIMIT 1"
    row = call.search(small(4), query)["results"][0]
    assert row["lastLogin"] == "0001-01-01T00:00:00Z"
    silent = next(site for site in truth.sites(70000002)
                  if site.logins == "missing" and truth.count(site))  # fmt: skip
    assert set(call.search(silent, query)["results"][0]) == {"UID"}
    assert truth.last_login(small(4)) is truth.last_login(silent) is None


def test_a_site_without_accounts_has_no_rows(call: Any) -> None:
    query = "SELECT UID, created FROM accounts ORDER BY created DESC LIMIT 1"
    answer = call.search(small(5), query)
    assert (answer["results"], answer["objectsCount"], answer["totalCount"]) == ([], 0, 0)
    assert counted(call.search(small(5), COUNT)) == 0
    bare = next(site for site in truth.sites(70000002) if site.drops_results)
    assert "results" not in call.search(bare, query)


def test_a_child_sees_its_parents_accounts(call: Any) -> None:
    assert counted(call.search(small(1), COUNT)) == truth.count(small(0))


def test_ids_search_speaks_the_same(call: Any) -> None:
    site = small(0)
    answer = call("ids.search", site.data_center, apiKey=site.api_key, query=COUNT)
    assert counted(answer) == truth.count(site)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT created FROM accounts LIMIT 1 ORDER BY created", 400006),
        ("SELECT created FROM accounts ORDER BY created WHERE created < '2024-01-01'", 400006),
        ("SELECT created FROM accounts LIMIT 1 START 1", 400006),
        ("FROM accounts SELECT created", 400006),
        ("SELECT created accounts", 400006),
        ("SELECT created FROM users", 400006),
        ("SELECT uid FROM accounts", 400006),
        ("SELECT lastlogin FROM accounts", 400006),
        (f"{COUNT} WHERE created < 2024-01-01", 400020),
        (f'{COUNT} WHERE createdTimestamp < "1704067200000"', 400020),
        (f'{COUNT} WHERE created < "2024-1-31T23:59:59Z"', 400006),
        (f'{COUNT} WHERE created < "2024-13-01T00:00:00Z"', 400006),
        (f'{COUNT} WHERE created < "2024-01-01T00:00:00Z', 400006),
        (f"{COUNT} WHERE", 400006),
        (f"{COUNT}; DROP TABLE accounts", 400006),
        ("", 400002),
    ],
)
def test_other_queries_are_refused(call: Any, query: str, code: int) -> None:
    answer = call.search(small(0), query)
    assert (answer["errorCode"], "results" in answer) == (code, False)


def test_the_large_partner_is_the_truth_at_random_places(call: Any) -> None:
    dice = random.Random(7)
    for site in dice.sample(truth.sites(70000002), 25):
        month = f"{dice.randint(2014, 2026)}-{dice.randint(1, 11):02d}"
        end = f"{month[:5]}{int(month[5:]) + 1:02d}-01T00:00:00.000Z"
        answer = call.search(site, f'{COUNT} WHERE created < "{end}"')
        assert counted(answer) == truth.total_users(site, month)
