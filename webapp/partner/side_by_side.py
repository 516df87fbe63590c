"""The questions of many sites side by side; a bad site or data centre costs the others little.

Sites stand in line. One whose question failed waits for its next try behind the others, without a
thread, and until it answers it has one question under way at most. What is suspect (such a site; a
data centre that has not answered yet, or not since its last failure) gets half of the places while
others have something to ask.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, zip_longest
from queue import Empty, SimpleQueue
from typing import Any

from webapp.errors import PartnerError, PartnerUnavailable
from webapp.partner.session import Again, Call, PartnerQuestion, PartnerSession

_POLL_S = 0.25


@dataclass
class OpenQuestion:
    """A question of a site on its way; `about` is the caller's own word for it."""

    site: str
    about: Any
    call: Call[Any]
    is_suspect: bool = False


class SideBySide:
    """Asks what sites want to know, as an iterator of (site, about, answer or PartnerError).

    sites:         the data centre of each site
    next_question: returns what a site asks now, as (about, question); None when there is nothing
                   before another of its answers has come
    stop:          called at least every half second; what it raises ends the work

    A PartnerError that stops the run, and any other exception, is raised at once; what is then
    still under way is left behind, and ends when its session is closed.
    """

    def __init__(
        self,
        session: PartnerSession,
        sites: Mapping[str, str],
        next_question: Callable[[str], tuple[Any, PartnerQuestion[Any]] | None],
        *,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._session, self._sites = session, sites
        self._next_question, self._stop = next_question, stop
        self._line = deque(_taking_turns(sites))
        # Failed and to be tried again at a moment; and at once, which is nothing against the site.
        self._waiting: list[tuple[float, int, OpenQuestion]] = []
        self._at_once: deque[OpenQuestion] = deque()
        self._numbers = count()
        self._in_trouble: set[str] = set()
        self._proven: set[str] = set()
        self._under_way: Counter[str] = Counter()
        self._running = [0, 0]  # sound ones, suspects
        self._done: SimpleQueue[tuple[OpenQuestion, Future[Any]]] = SimpleQueue()

    def put_in_line(self, sites: Iterable[str]) -> None:
        """Put sites in line that had nothing to ask and may have now; then iterate again."""
        self._line.extend(sites)

    def __iter__(self) -> Iterator[tuple[str, Any, Any]]:
        most = self._session.concurrency
        pool = ThreadPoolExecutor(most, thread_name_prefix="partner")
        try:
            while True:
                while sum(self._running) < most and (task := self._next_task()):
                    self._put_under_way(pool, task)
                self._stop()
                if not any(self._running) and not self._waiting:
                    return
                task, outcome = self._finished()
                if task is None:
                    continue
                if isinstance(outcome, Again):
                    if outcome.is_trouble:
                        self._in_trouble.add(task.site)
                        at = time.monotonic() + outcome.wait_s
                        heapq.heappush(self._waiting, (at, next(self._numbers), task))
                    else:
                        self._at_once.append(task)
                    continue
                self._in_trouble.discard(task.site)
                answered = not isinstance(outcome, PartnerUnavailable)
                (self._proven.add if answered else self._proven.discard)(task.site)
                yield task.site, task.about, outcome
                # First in line: what is begun is finished first, whatever ends the run.
                self._line.appendleft(task.site)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _put_under_way(self, pool: ThreadPoolExecutor, task: OpenQuestion) -> None:
        self._running[task.is_suspect] += 1
        self._under_way[task.site] += 1
        future = pool.submit(self._session.attempt, task.call)
        future.add_done_callback(lambda future: self._done.put((task, future)))

    def _next_task(self) -> OpenQuestion | None:
        """Return what is sent next: first who is sound, then the suspects that may be asked now."""
        if self._at_once:
            return self._at_once.popleft()
        task = self._next_in_line(
            lambda site: not self._session.breaker.is_suspect(self._sites[site])
        )
        if task is not None:
            return task
        others_at_work = self._running[0] > 0
        half = max(1, self._session.concurrency // 2)
        if others_at_work and self._running[1] >= half:
            return None
        task = self._next_in_line(
            lambda site: not (others_at_work and self._session.breaker.is_silent(self._sites[site]))
        )
        if task is None and self._waiting and self._waiting[0][0] <= time.monotonic():
            task = heapq.heappop(self._waiting)[2]
        if task is not None:
            task.is_suspect = True
        return task

    def _next_in_line(self, may_ask: Callable[[str], bool]) -> OpenQuestion | None:
        for _ in range(len(self._line)):
            site = self._line.popleft()
            if site in self._in_trouble or (self._under_way[site] and site not in self._proven):
                continue  # it comes back with its answer
            if not may_ask(site):
                self._line.append(site)
            elif asked := self._next_question(site):
                self._line.append(site)
                return OpenQuestion(site, asked[0], self._session.call(asked[1]))
        return None

    def _finished(self) -> tuple[OpenQuestion | None, Any]:
        """Return a task that is through with a try, and its outcome; None for it after a while."""
        wait_s = _POLL_S
        if self._waiting and sum(self._running) < self._session.concurrency:
            wait_s = min(wait_s, max(self._waiting[0][0] - time.monotonic(), 0.001))
        try:
            task, future = self._done.get(timeout=wait_s)
        except Empty:
            return None, None
        self._running[task.is_suspect] -= 1
        self._under_way[task.site] -= 1
        try:
            return task, future.result()
        except PartnerError as error:
            if error.stops_run:
                raise
            return task, error


def _taking_turns(sites: Mapping[str, str]) -> list[str]:
    """Return the sites in their order, but one of each data centre in turn."""
    by_data_center: dict[str, list[str]] = {}
    for site, data_center in sites.items():
        by_data_center.setdefault(data_center, []).append(site)
    turns = zip_longest(*by_data_center.values())
    return [site for turn in turns for site in turn if site is not None]
