"""Work side by side over a few threads, without ever waiting for what is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

from webapp.errors import PartnerError

T = TypeVar("T")
R = TypeVar("R")
_POLL_S = 0.25


def side_by_side(
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    concurrency: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[tuple[T, R | PartnerError]]:
    """Yield each item with its result, or with the PartnerError it ended in, as they complete.

    `items` is asked for the next one whenever a thread is free, and again after each result, so
    an iterator that was empty may have grown meanwhile. `stop` is called at least every half
    second. A PartnerError that stops the run, and any other exception, is raised at once; what is
    then still running is left behind, and ends when its session is closed.
    """
    done: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
    source = iter(items)
    pool = ThreadPoolExecutor(max(1, concurrency), thread_name_prefix="partner")
    running = 0
    try:
        while True:
            while running < concurrency and (taken := _next(source)):
                running += 1
                future = pool.submit(work, taken[0])
                future.add_done_callback(
                    lambda future, item=taken[0]: done.put((item, future))  # type: ignore[misc]
                )
            if not running:
                return
            item, future = _first(done, stop)
            running -= 1
            outcome = _outcome(future)
            yield item, outcome
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _next(source: Iterator[T]) -> tuple[T] | None:
    for item in source:
        return (item,)
    return None


def _first(done: SimpleQueue[tuple[T, Future[R]]], stop: Callable[[], None]) -> tuple[T, Future[R]]:
    stop()
    while True:
        try:
            return done.get(timeout=_POLL_S)
        except Empty:
            stop()


def _outcome(future: Future[R]) -> R | PartnerError:
    try:
        return future.result()
    except PartnerError as error:
        if error.stops_run:
            raise
        return error
