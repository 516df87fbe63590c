"""What searches cost in this very conversation: how much longer each makes it, by the rows read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from webapp.partner.pace import SHARE, RateLimiter

# How much of what was measured before counts beside each new measurement.
KEPT = 0.7
# Rows an answer, on average, of which something can be learned about rows.
ROWS_THAT_TELL = 100
# How much slower the quickest is taken for with each that is not as quick.
FORGET = 1.001


class SearchCosts:
    """Learns how much longer one more search makes a conversation, and one more row. Thread-safe.

    What a single search takes says little: with many in flight each waits for the others, and a
    count behind large reads takes as long as they do. So a search costs its share of the places in
    flight when it is quickest, up to twice that where counts in a row take longer; what answers
    with rows take beyond that, many of them together, is what the rows cost.
    """

    def __init__(
        self, pace: RateLimiter, concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pace, self._clock, self._concurrency = pace, clock, concurrency
        self._lock = threading.Lock()
        self._quickest_s = self._counts_s = 0.0  # not known yet
        self._search_s, self._row_s = 0.05 / concurrency, 5e-6
        self._beyond_s, self._beyond_rows = 50_000 * self._row_s, 50_000.0
        self._together = max(16, concurrency)
        self._began, self._searches, self._rows = clock(), -1, 0

    def note(self, took_s: float, rows: int) -> None:
        """Take that a search was answered just now, after a while, with so many rows."""
        with self._lock:
            now = self._clock()
            if self._searches < 0:  # what was before the first answer says nothing of searches
                self._began = now
            self._searches += 1
            if rows > 1:
                self._rows += rows
            else:
                self._quickest_s = min(self._quickest_s * FORGET or took_s, took_s)
            if self._searches < self._together:
                return
            each_s = (now - self._began) / self._searches
            if not self._rows:
                self._counts_s = min(self._counts_s * FORGET or each_s, each_s)
            share_s = self._quickest_s / self._concurrency or self._search_s
            self._search_s = min(max(self._counts_s, share_s), 2 * share_s)
            if self._rows >= ROWS_THAT_TELL * self._searches:
                self._beyond_s *= KEPT
                self._beyond_s += (each_s - self.seconds(0)) * self._searches
                self._beyond_rows = self._beyond_rows * KEPT + self._rows
                self._row_s = max(0.0, self._beyond_s / self._beyond_rows)
            self._began, self._searches, self._rows = now, 0, 0

    def seconds(self, rows: int) -> float:
        """Return by how much a search that brings so many rows makes a report longer."""
        rate = self._pace.rate * SHARE
        return max(self._search_s + rows * self._row_s, 1 / rate if rate else 0.0)

    def read_pays(self, rows: int, counts: float) -> bool:
        """Return whether a search that brings rows costs less than so many counts."""
        return self.seconds(rows) < counts * self.seconds(0)
