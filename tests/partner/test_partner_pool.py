"""Work side by side: as it completes, as it fails, and as it is given up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

import pytest
from partner_helpers import Talk

from tests.soon import soon, until
from webapp.errors import PartnerError, PartnerRefused, PartnerUnavailable, RunEnded
from webapp.partner import Site, count_accounts, side_by_side


def test_results_come_as_they_complete_with_their_items() -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            first_may_end.wait(60)
        return item * 10

    seen = []
    for item, result in side_by_side(work, range(5), concurrency=2):
        seen.append(item)
        assert result == item * 10
        if len(seen) == 4:
            first_may_end.set()
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert seen[-1] == 0


def test_no_more_than_so_many_run_and_none_is_taken_early() -> None:
    running = most = taken = 0
    lock = threading.Lock()

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    def work(item: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    for number, _ in enumerate(side_by_side(work, items(), concurrency=4), 1):
        assert taken <= number + 4
    assert most == 4


def test_an_error_of_one_item_is_its_result() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise PartnerUnavailable("gone")
        return item

    results = dict(side_by_side(work, range(3), concurrency=2))
    assert isinstance(results[1], PartnerError)
    assert (results[0], results[2]) == (0, 2)


@pytest.mark.parametrize(
    "error",
    [PartnerRefused("wrong secret", stops_run=True), RunEnded("cancelled"), KeyError("bug")],
)
def test_what_stops_the_run_is_raised_at_once(error: Exception) -> None:
    may_end = threading.Event()
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise error
        may_end.wait(60)

    with soon(), pytest.raises(type(error)):
        list(side_by_side(work, range(100), concurrency=3))
    may_end.set()
    assert len(begun) <= 3


def test_stop_is_heard_while_nothing_completes() -> None:
    may_end = threading.Event()
    ends = time.monotonic() + 0.3

    def stop() -> None:
        if time.monotonic() > ends:
            raise RunEnded("cancelled")

    with soon(), pytest.raises(RunEnded):
        list(side_by_side(lambda _: may_end.wait(60), range(9), concurrency=2, stop=stop))
    may_end.set()


def test_items_may_grow_from_results() -> None:
    open_ = deque([8])

    class Items:
        def __iter__(self) -> Items:
            return self

        def __next__(self) -> int:
            if not open_:
                raise StopIteration
            return open_.popleft()

    seen = []
    for item, _ in side_by_side(lambda item: item, Items(), concurrency=3):
        seen.append(item)
        if item > 1:
            open_.extend((item // 2, item // 2))
    assert sorted(seen) == sorted([8, 4, 4] + [2] * 4 + [1] * 8)


def test_nothing_to_do_ends_at_once() -> None:
    assert list(side_by_side(lambda item: item, [], concurrency=4)) == []


def test_requests_left_in_flight_end_with_their_session(talk: Talk, site: Site) -> None:
    talk.server.plays(talk.server.hang)
    session = talk.session()

    def work(number: int) -> None:
        if number == 3:
            time.sleep(0.1)
            raise PartnerRefused("wrong secret", stops_run=True)
        count_accounts(session, site)

    with pytest.raises(PartnerRefused), session:
        list(side_by_side(work, range(4), concurrency=4))
    left = [thread for thread in threading.enumerate() if thread.name.startswith("partner")]
    assert until(lambda: not any(thread.is_alive() for thread in left))
