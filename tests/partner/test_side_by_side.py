"""Sites side by side: as they complete, as they fail, and as they are given up."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from bad_server import Asked, BadServer, Move, answer, http, raw, refusal
from partner_helpers import Talk

from tests.soon import soon, until
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable, RunEnded
from webapp.partner.pace import LocalRateLimiter
from webapp.partner.searches import count_accounts
from webapp.partner.session import PartnerQuestion, PartnerSession
from webapp.partner.side_by_side import SideBySide
from webapp.partner.sites import Site

COUNT = answer({"results": [{"count(*)": 5}], "totalCount": 5})
AWAY = raw(http(b"", 503))


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    with soon():
        yield


def site(name: str, data_center: str = "eu1") -> Site:
    return Site(name, f"4_{name}", name, data_center)


def asks(sites: dict[str, Site], times: int = 1) -> Callable[[str], Any]:
    """Return what makes each site ask so many questions."""
    left = dict.fromkeys(sites, times)

    def next_question(name: str) -> tuple[int, PartnerQuestion[Any]] | None:
        if not left[name]:
            return None
        left[name] -= 1
        return left[name], count_accounts(sites[name])

    return next_question


def side_by_side(session: PartnerSession, sites: dict[str, Site], times: int = 1) -> SideBySide:
    data_centers = {name: one.data_center for name, one in sites.items()}
    return SideBySide(session, data_centers, asks(sites, times), stop=session.check)


def named(*names: str, data_center: str = "eu1") -> dict[str, Site]:
    return {name: site(name, data_center) for name in names}


def by_site(moves: dict[str, Move], otherwise: Move = COUNT) -> Callable[[Asked], Move]:
    return lambda asked: moves.get(asked.form["apiKey"].removeprefix("4_"), otherwise)


def test_every_question_of_every_site_is_answered(talk: Talk, server: BadServer) -> None:
    server.plays(COUNT)
    found = list(side_by_side(talk.session(concurrency=3), named(*"abcde"), times=4))
    assert Counter(name for name, _, _ in found) == dict.fromkeys("abcde", 4)
    assert {told.value for _, _, told in found} == {5}


def test_nothing_to_do_ends_at_once(talk: Talk) -> None:
    assert list(side_by_side(talk.session(), {})) == []


def test_no_more_requests_than_places_are_under_way(talk: Talk, server: BadServer) -> None:
    under_way = most = 0
    lock = threading.Lock()

    def move(connection: socket.socket, asked: Asked) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.005)
        with lock:
            under_way -= 1
        COUNT(connection, asked)

    server.plays(move)
    list(side_by_side(talk.session(concurrency=4), named(*"abcdefgh"), times=5))
    assert most == 4


def test_no_more_connections_are_opened_than_the_pace_needs(talk: Talk, server: BadServer) -> None:
    """Whoever waits for a slot holds none, and the last one used is used again first."""
    server.plays(COUNT)
    session = talk.session(concurrency=8, search_pace=LocalRateLimiter(8))
    list(side_by_side(session, named(*"abcdefgh"), times=2))
    assert server.connections < 8


def test_an_error_of_one_site_is_its_result(talk: Talk, server: BadServer) -> None:
    server.script = by_site({"b": refusal(403036)})
    found = {name: told for name, _, told in side_by_side(talk.session(), named(*"abc"))}
    assert isinstance(found["b"], PartnerError)
    assert found["a"].value == found["c"].value == 5


def test_what_stops_the_run_is_raised_at_once(talk: Talk, server: BadServer) -> None:
    server.script = by_site({"b": refusal(403010)}, server.hang)
    with pytest.raises(PartnerRefused), talk.session(concurrency=3) as session:
        list(side_by_side(session, named(*"abcdef")))
    assert len(server.asked) <= 3


def test_stop_is_heard_while_nothing_completes(talk: Talk, server: BadServer) -> None:
    server.plays(server.hang)
    ends = time.monotonic() + 0.3

    def stop() -> None:
        if time.monotonic() > ends:
            raise RunEnded("cancelled")

    with pytest.raises(RunEnded), talk.session() as session:
        list(SideBySide(session, {"a": "eu1"}, asks(named("a")), stop=stop))


def test_requests_left_in_flight_end_with_their_session(talk: Talk, server: BadServer) -> None:
    server.script = by_site({"d": refusal(403010)}, server.hang)
    with pytest.raises(PartnerRefused), talk.session(concurrency=4) as session:
        list(side_by_side(session, named(*"abcd")))
    left = [thread for thread in threading.enumerate() if thread.name.startswith("partner")]
    assert until(lambda: not any(thread.is_alive() for thread in left))


# -- bad neighbours ------------------------------------------------------------------------------


def test_sites_that_hang_hold_one_place_each_and_the_others_are_counted_meanwhile(
    talk: Talk, server: BadServer
) -> None:
    """Six sites that never answered, listed first, cost the other 34 their report."""
    sites = named(*(f"s{number}" for number in range(40)))
    hanging = [f"s{number}" for number in range(6)]
    server.script = by_site(dict.fromkeys(hanging, server.hang))

    def asked_of_hanging() -> list[int]:
        asked = Counter(asked.form["apiKey"] for asked in list(server.asked))
        return [asked[f"4_{name}"] for name in hanging]

    # Nobody is given up meanwhile, so that what comes first can only be the sound ones' answers.
    with talk.session(concurrency=8, limits={"margin_s": 60.0, "total_s": 120.0}) as session:
        found = list(islice(side_by_side(session, sites, times=3), 34 * 3))
        assert Counter(name for name, _, _ in found) == {
            name: 3 for name in sites if name not in hanging
        }
        assert {told.value for _, _, told in found} == {5}
        # A request sent is not yet one that has arrived; each holds one place and no other.
        assert until(lambda: asked_of_hanging() == [1] * 6)


def test_a_data_centre_that_is_away_costs_the_others_nothing(talk: Talk, server: BadServer) -> None:
    away = named(*(f"a{number}" for number in range(20)), data_center="eu1")
    sound = named(*(f"s{number}" for number in range(20)), data_center="us1")
    server.script = lambda asked: AWAY if asked.data_center == "eu1" else COUNT
    found = list(side_by_side(talk.session(), away | sound, times=2))
    answers = {name: told for name, _, told in found}
    assert all(answers[name].value == 5 for name in sound)
    assert all(isinstance(answers[name], PartnerUnavailable) for name in away)
    places = [place for place, (name, _, _) in enumerate(found) if name in sound]
    assert max(places) < len(sound) * 2 + 4


def test_a_data_centre_that_hangs_gets_half_of_the_places(talk: Talk, server: BadServer) -> None:
    hangs = named(*(f"h{number}" for number in range(20)), data_center="eu1")
    sound = named(*(f"s{number}" for number in range(20)), data_center="us1")
    server.script = lambda asked: server.hang if asked.data_center == "eu1" else COUNT
    limits = {"margin_s": 3.0, "total_s": 1.0, "silence_s": 1.5}
    session = talk.session(concurrency=8, limits=limits)
    done = []
    for name, _, _ in side_by_side(session, hangs | sound):
        done.append(name)
        if len(done) == len(sound):
            asked = Counter(asked.data_center for asked in server.asked)
            assert asked["eu1"] <= 8
    assert set(done[: len(sound)]) == set(sound)


def test_a_site_that_answers_again_is_counted(talk: Talk, server: BadServer) -> None:
    tries = Counter[str]()

    def script(asked: Asked) -> Move:
        key = asked.form["apiKey"]
        tries[key] += 1
        return AWAY if key == "4_b" and tries[key] <= 3 else COUNT

    server.script = script
    found = list(side_by_side(talk.session(), named(*"abc"), times=2))
    assert Counter(name for name, _, _ in found) == dict.fromkeys("abc", 2)
    assert all(told.value == 5 for _, _, told in found)


def test_a_site_that_failed_has_one_question_under_way_at_most(
    talk: Talk, server: BadServer
) -> None:
    server.script = by_site({"b": AWAY})
    session = talk.session(concurrency=8)
    list(side_by_side(session, named("b"), times=3))
    # Three questions of six tries each, one after the other: never two at a time.
    moments = [asked.at for asked in server.asked]
    assert moments == sorted(moments)
    assert len(moments) == 18


def test_refusals_for_coming_too_fast_say_nothing_against_a_site(
    talk: Talk, server: BadServer
) -> None:
    server.plays(*[raw(http(b"", 429, Retry_After="0"))] * 5, COUNT)
    found = list(side_by_side(talk.session(limits={"throttled_tries": 10}), named("a"), times=2))
    assert [told.value for _, _, told in found] == [5, 5]
