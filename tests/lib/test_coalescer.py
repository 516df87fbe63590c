"""Work done for many threads by one of them: everybody's own answer, nobody's stale one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.faults_helpers import until
from webapp.lib.coalescer import Coalescer, NotAnswered

LONG_S = 20.0


class Doubling:
    """Doubles numbers, one call at a time; each call waits for `go` and is kept in `calls`."""

    def __init__(self, most: int = 100, size: Callable[[int], int] = lambda _: 1) -> None:
        self.calls: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.together = Coalescer(self._work, most=most, size=size)

    def _work(self, numbers: list[int]) -> list[int]:
        self.calls.append(numbers)
        self.begun.release()
        assert self.go.acquire(timeout=LONG_S)
        if 13 in numbers:
            raise ValueError("no 13")
        return [number * 2 for number in numbers]

    def waiting(self, count: int) -> None:
        """Return when that many questions wait for the next call."""
        until(lambda: len(self.together._waiting) == count, LONG_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as found:
        yield found


def asked_behind_one(
    doubling: Doubling, pool: ThreadPoolExecutor, numbers: list[int]
) -> tuple[Future[int], list[Future[int]]]:
    """Ask 1, and while it is worked on the numbers, in their order; let that call go on."""
    first = pool.submit(doubling.together.ask, 1)
    assert doubling.begun.acquire(timeout=LONG_S)
    behind = []
    for number in numbers:
        behind.append(pool.submit(doubling.together.ask, number))
        doubling.waiting(len(behind))
    doubling.go.release()
    return first, behind


def test_who_comes_alone_is_answered_at_once() -> None:
    together = Coalescer(lambda numbers: [number * 2 for number in numbers], most=10)
    assert [together.ask(number) for number in (1, 2, 3)] == [2, 4, 6]


def test_those_who_come_meanwhile_are_answered_by_the_next_call(pool: ThreadPoolExecutor) -> None:
    doubling = Doubling()
    first, behind = asked_behind_one(doubling, pool, [5, 6, 7])
    doubling.go.release()
    assert first.result(LONG_S) == 2
    assert [one.result(LONG_S) for one in behind] == [10, 12, 14]
    # Never by the call that had begun before they asked: it may have looked too early.
    assert doubling.calls == [[1], [5, 6, 7]]


def test_a_call_takes_as_much_as_it_may_and_a_large_question_goes_alone(
    pool: ThreadPoolExecutor,
) -> None:
    doubling = Doubling(most=10, size=lambda number: number)
    first, behind = asked_behind_one(doubling, pool, [4, 5, 2, 30, 3])
    for _ in range(4):
        doubling.go.release()
    assert first.result(LONG_S) == 2
    assert [one.result(LONG_S) for one in behind] == [8, 10, 4, 60, 6]
    assert doubling.calls == [[1], [4, 5, 2], [30], [3]]


def test_a_failure_is_told_to_those_it_concerns_and_to_nobody_else(
    pool: ThreadPoolExecutor,
) -> None:
    doubling = Doubling()
    first, behind = asked_behind_one(doubling, pool, [13, 4])
    assert doubling.begun.acquire(timeout=LONG_S)
    later = pool.submit(doubling.together.ask, 8)
    doubling.waiting(1)
    doubling.go.release()
    doubling.go.release()
    assert first.result(LONG_S) == 2
    with pytest.raises(ValueError, match="no 13"):
        behind[0].result(LONG_S)
    with pytest.raises(NotAnswered):
        behind[1].result(LONG_S)
    assert later.result(LONG_S) == 16


def test_a_work_that_forgets_somebody_fails_instead_of_answering_wrongly() -> None:
    together: Coalescer[int, int] = Coalescer(lambda numbers: numbers[1:], most=10)
    with pytest.raises(ValueError, match="shorter"):
        together.ask(1)


def test_many_threads_get_their_own_answers(pool: ThreadPoolExecutor) -> None:
    together = Coalescer(lambda numbers: [number * 2 for number in numbers], most=7)
    assert list(pool.map(together.ask, range(2000))) == [2 * number for number in range(2000)]
