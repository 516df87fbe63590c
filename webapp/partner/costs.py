"""What searches cost in this very conversation: of the granted pace, of latency, of rows read."""

from __future__ import annotations

import threading

from webapp.partner.pace import SHARE, RateLimiter

# How much a new measurement counts against those before.
WEIGHT = 0.1


class SearchCosts:
    """Measures searches as they are answered. Thread-safe.

    A search costs a place in the granted pace, and its share of the places that are in flight; what
    takes the machines' time makes all that are in flight slower, so the share is the cost of that.
    """

    def __init__(self, pace: RateLimiter, concurrency: int) -> None:
        self._pace, self._concurrency = pace, concurrency
        self._lock = threading.Lock()
        self._empty_s, self._row_s = 0.05, 5e-6

    def note(self, took_s: float, rows: int) -> None:
        """Take how long a search took that brought so many rows."""
        with self._lock:
            if rows <= 1:
                self._empty_s += WEIGHT * (took_s - self._empty_s)
            else:
                # Many rows say more about what a row costs than few.
                row_s = max(0.0, took_s - self._empty_s) / rows
                self._row_s += WEIGHT * min(1.0, rows / 1_000) * (row_s - self._row_s)

    def seconds(self, rows: int) -> float:
        """Return by how much a search that brings so many rows makes a report longer."""
        rate = self._pace.rate * SHARE
        in_flight_s = (self._empty_s + rows * self._row_s) / self._concurrency
        return max(in_flight_s, 1 / rate if rate else 0.0)

    def read_pays(self, rows: int, counts: float) -> bool:
        """Return whether a search that brings rows costs less than so many counts."""
        return self.seconds(rows) < counts * self.seconds(0)
