"""Notices when answers come too slowly for the requests in flight to fill the granted pace.

A call takes its slot before its connection, so there are never more requests under way than pace
times latency; where that is more than the bound, the bound decides, and the reader is told once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from webapp.partner.pace import LATE_S, Pace

ENOUGH = 24
FULL = 0.75
FILLED = 0.9


class Flow:
    """The searches of one session that are under way; used by all its threads.

    bound: requests in flight at most
    """

    def __init__(self, bound: int, notice: Callable[[str], None]) -> None:
        self._bound, self._notice = bound, notice
        self._lock = threading.Lock()
        self._under_way = 0
        self._number, self._others, self._took_s = 0, 0, 0.0
        self._told = False

    def sent(self, waited_s: float) -> bool:
        """Count a search as under way; say whether only the bound held it back, not the pace."""
        with self._lock:
            self._under_way += 1
            return self._under_way >= FULL * self._bound and waited_s < LATE_S

    def ended(self, bounded: bool, took_s: float, pace: Pace) -> None:
        """Count an answer; tell once that a long row of them could not fill the granted pace."""
        with self._lock:
            self._under_way -= 1
            if not bounded:
                self._others += 1
                if self._others * 5 > self._number:
                    self._number, self._others, self._took_s = 0, 0, 0.0
                return
            self._number, self._took_s = self._number + 1, self._took_s + took_s
            if self._told or self._number < max(ENOUGH, 3 * self._bound) or pace.slowed:
                return
            average_s, rate = self._took_s / self._number, pace.rate
            fills = self._bound / max(average_s, 0.001)
            if fills >= FILLED * rate:
                return
            self._told = True
        self._notice(
            f"The partner takes about {average_s:.2g} s an answer; {self._bound} in flight fill "
            f"{fills:.2g} of the granted {rate:g} searches a second (PARTNER_CONCURRENCY)."
        )
