"""One search of a site, and what makes one sort of search cheaper than another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal


@dataclass(frozen=True)
class Search:
    """One search of a site.

    what:   `count` of accounts created before `end`, or `read` of creation dates in [start, end)
    at:     index of the month counted, or of the last month of the stretch read
    after:  index of the known month at the stretch's start; -1 is the beginning of time
    start:  None is the beginning of time
    gamble: the stretch holds more than one read can bring
    """

    what: Literal["count", "read"]
    at: int
    end: datetime
    after: int = -1
    start: datetime | None = None
    gamble: bool = False


def stretches(known: Iterable[int], months: int) -> Iterator[tuple[int, int]]:
    """Yield (known month, next known month) by index, with unknown months between them.

    -1 is the beginning of time; as many as there are months where the last is not known
    """
    for before, index in pairwise([-1, *sorted(known), months]):
        if index - before > 1:
            yield before, index


class Economy:
    """What the sites of one report have in common: what a read costs, how many sites are small.

    read_pays: whether a read of so many dates costs less than so many counts
    """

    def __init__(
        self, read_pays: Callable[[int, float], bool] = lambda _rows, _counts: True
    ) -> None:
        self.read_pays = read_pays
        self._sites = self._small = 0

    def note_site(self, *, small: bool) -> None:
        """Take whether one read brought, or would have brought, all accounts of a site."""
        self._sites += 1
        self._small += small

    def read_first_pays(self, rows: int) -> bool:
        """Return whether a site is best read at once, without being counted first.

        It saves the count of a small site and costs one search more of a large one.
        """
        most_are_small = self._sites >= 8 and self._small > 0.6 * self._sites
        return rows > 0 and most_are_small and self.read_pays(rows, 1.5)
