"""Requests in flight: as many as pace and latency ask for, a word where the bound is too low."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import pytest
from bad_server import Asked, BadServer, answer
from partner_helpers import Talk

from webapp.partner import LocalPace, NoPace, Site, count_accounts, side_by_side
from webapp.partner.flow import Flow

COUNT = answer({"results": [{"count(*)": 5}], "totalCount": 5})


def after(seconds: float) -> Callable[[socket.socket, Asked], None]:
    def move(connection: socket.socket, asked: Asked) -> None:
        time.sleep(seconds)
        COUNT(connection, asked)

    return move


def ask(talk: Talk, site: Site, number: int, *, bound: int, per_second: float) -> None:
    pace = LocalPace(per_second) if per_second else NoPace()
    session = talk.session(concurrency=bound, search_pace=pace, limits={"total_s": 30})
    work = side_by_side(lambda _: count_accounts(session, site), range(number), concurrency=bound)
    assert len(list(work)) == number


def test_a_slow_partner_that_the_bound_cannot_make_up_for_is_told_once(
    talk: Talk, server: BadServer, site: Site
) -> None:
    server.plays(after(0.1))
    ask(talk, site, 80, bound=4, per_second=200)
    (line,) = talk.notices
    found = re.fullmatch(
        r"The partner takes about (\S+) s an answer; 4 in flight fill (\S+) of the granted 200 "
        r"searches a second \(PARTNER_CONCURRENCY\)\.",
        line,
    )
    assert found
    assert float(found[1]) >= 0.1
    assert float(found[2]) <= 40


@pytest.mark.parametrize("per_second", [30, 0])
def test_nothing_is_told_where_the_pace_is_filled_or_none_is_granted(
    talk: Talk, server: BadServer, site: Site, per_second: float
) -> None:
    server.plays(after(0.02))
    ask(talk, site, 40, bound=4, per_second=per_second)
    assert talk.notices == []


def test_no_more_connections_are_opened_than_the_pace_needs(
    talk: Talk, server: BadServer, site: Site
) -> None:
    """Whoever waits for a slot holds none, and the last one used is used again first."""
    server.plays(after(0.01))
    ask(talk, site, 12, bound=8, per_second=4)
    assert server.connections < 8


def test_a_short_row_and_a_lowered_pace_tell_nothing() -> None:
    said: list[str] = []
    flow, pace = Flow(2, said.append), LocalPace(10)
    for _ in range(20):
        flow.ended(flow.sent(0.0) or True, 5.0, pace)
    assert said == []
    pace.slow_down(None)
    for _ in range(20):
        flow.ended(flow.sent(0.0) or True, 5.0, pace)
    assert said == []


def test_the_line_says_how_much_of_the_granted_rate_is_filled() -> None:
    said: list[str] = []
    flow, pace = Flow(8, said.append), LocalPace(10)
    for _ in range(60):
        flow.ended(flow.sent(0.0) or True, 1.6, pace)
    assert said == [
        "The partner takes about 1.6 s an answer; 8 in flight fill 5 of the granted 10 searches a "
        "second (PARTNER_CONCURRENCY)."
    ]
