"""What the stand-in counts: requests, refusals, the pace of searches and the limit on it."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

SECONDS_KEPT = 3600
SEARCHES_KEPT = 5000
DISTINCT_KEPT = 300_000


class Window:
    """The searches of one partner within the last second; refused ones take no place in it."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque()
        self.peak = 0

    def admit(self, rate: int | None, now: float) -> bool:
        """Return whether one more search is within the rate, and remember it if so."""
        moments = self._moments
        while moments and moments[0] <= now - 1.0:
            moments.popleft()
        if rate and len(moments) >= rate:
            return False
        moments.append(now)
        self.peak = max(self.peak, len(moments))
        return True


class Tally:
    """Counters since the start or the last reset; bounded, whatever the load."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Begin again at zero; requests in flight stay in flight."""
        self._began = time.monotonic()
        self.requests: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.refused = 0
        self.redirects_followed = 0
        self.max_in_flight = self.in_flight
        self.windows: dict[int, Window] = {}
        self._seconds: dict[int, int] = {}
        self._searches: deque[dict[str, Any]] = deque(maxlen=SEARCHES_KEPT)
        self._distinct: set[int] = set()
        self._repeated = 0

    def enter(self) -> None:
        """Count a request that begins."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def admit_search(self, partner: int, rate: int | None) -> bool:
        """Return whether a partner's search is within the rate; count it, or its refusal."""
        now = time.monotonic()
        if not self.windows.setdefault(partner, Window()).admit(rate, now):
            self.refused += 1
            return False
        second = int(now - self._began)
        self._seconds[second] = self._seconds.get(second, 0) + 1
        if len(self._seconds) > SECONDS_KEPT:
            del self._seconds[next(iter(self._seconds))]
        return True

    def note_search(self, partner: int, site_id: int, query: str) -> None:
        """Remember a search that is answered, to tell repeated ones and to show the last ones."""
        self._searches.append({"partner": partner, "site_id": site_id, "query": query[:300]})
        mark = hash((site_id, query))
        if mark in self._distinct:
            self._repeated += 1
        elif len(self._distinct) < DISTINCT_KEPT:
            self._distinct.add(mark)

    def searches(self) -> list[dict[str, Any]]:
        """Return the last searches, oldest first."""
        return list(self._searches)

    def report(self) -> dict[str, Any]:
        """Return all counters as JSON values."""
        return {
            "requests": dict(self.requests),
            "errors": {str(code): number for code, number in self.errors.items()},
            "faults": dict(self.faults),
            "refused": self.refused,
            "redirects_followed": self.redirects_followed,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "searches_repeated": self._repeated,
            "per_second": [[second, number] for second, number in self._seconds.items()],
            "peak_per_second": {str(partner): one.peak for partner, one in self.windows.items()},
            "seconds": round(time.monotonic() - self._began, 3),
        }
