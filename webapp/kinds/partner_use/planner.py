"""Finds a site's months with the fewest searches: asks only what is not already implied. Pure.

Accounts created before a moment never get fewer as the moment moves forward. So two months with
the same count give every month between them, and nothing comes before a zero. A stretch between
two known months is taken up by the cheapest of three means:

- a count at one of its months, halfway in (halving), resolves that month, or all on one side;
- reading the creation dates of the stretch, where it holds at most `read_limit` accounts, resolves
  every month of it in one search;
- reading on: the next `read_limit` dates from its start resolve every quiet month up to the next
  growth, and the months of that growth as far as the dates reach. It may resolve nothing, so it
  is tried only on what earlier searches have saved.

A count resolves at least its own month and a read is used for two or more, so a site never costs
more searches than its months. That holds while people sign up and are deleted between two searches,
too: dates that are all of a stretch by the partner's own total resolve it, whatever was counted
before. What breaks the rule otherwise (a later count below an earlier one, fewer dates than counted
and no total) makes the stretch be asked month by month. `Cell.counted_at` of an implied month is
the older of what implied it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from webapp.kinds.partner_use.compute import Cell

BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
GIVE_UP_AFTER = 2
# Growth per month, as a share of what one read brings, up to which reading on is worth trying.
READ_PAYS = 0.75


@dataclass(frozen=True)
class Search:
    """One search of a site.

    what:   `count` of accounts created before `end`, or `read` of creation dates in [start, end)
    at:     index of the month counted, or of the last month of the stretch read
    after:  index of the known month at the stretch's start; -1 is the beginning of time
    gamble: the stretch holds more than one read can bring
    """

    what: Literal["count", "read"]
    at: int
    end: datetime
    after: int = -1
    start: datetime = BEGINNING
    gamble: bool = False


class SitePlan:
    """The months of one site: `ends` are the first instants after each, oldest first.

    known:      cells by index that need no search
    read_limit: most creation dates one search may bring; 0 asks by counts only
    plain:      ask every month by itself
    """

    def __init__(
        self,
        ends: Sequence[datetime],
        known: Mapping[int, Cell],
        *,
        read_limit: int,
        plain: bool = False,
    ) -> None:
        self.ends = ends
        self.cells: dict[int, Cell] = dict(known)
        self.problem: str | None = None
        self.searches = 0
        self._read_limit = read_limit
        self._wanted = len(ends) - len(known)
        self._plain = plain
        self._asked: set[int] = set()
        self._failed: set[int] = set()
        self._busy: dict[int, int] = {}
        self._plainly: set[int] = set()
        self._dense: set[int] = set()
        self._credit = 0
        self._given_up = False
        self._under_way = 0
        if not plain:
            self._imply()

    @property
    def unknown(self) -> int:
        """Return how many months have no value yet."""
        return len(self.ends) - len(self.cells)

    @property
    def resolved(self) -> int:
        """Return how many of the months that were not known before have a value now."""
        return self._wanted - self.unknown

    @property
    def finished(self) -> bool:
        """Return whether no answer is to come and no search is left: known, given up, or failed."""
        if self._under_way or self._given_up:
            return not self._under_way
        return all(at in self.cells or at in self._asked for at in range(len(self.ends)))

    def learn(self, cells: Mapping[int, Cell]) -> int:
        """Take what was found out elsewhere meanwhile; return how many months that resolved."""
        before = self.unknown
        for index, cell in cells.items():
            self.cells.setdefault(index, cell)
        self._wanted -= before - self.unknown
        learned = before - self.unknown
        if not self._plain:
            self._imply()
        return learned

    def without_reads(self) -> None:
        """Ask by counts only from now on: the key may not read creation dates."""
        self._read_limit = 0

    def give_up(self, problem: str) -> None:
        """Ask nothing more; what has no value is a hole."""
        self.problem = self.problem or problem
        self._given_up = True

    def next_search(self) -> Search | None:
        """Return a search that may be sent now, beside those under way; None if there is none."""
        if self._given_up:
            return None
        search = self._next_plain() if self._plain else self._next_planned()
        if search is not None:
            self.searches += 1
            self._under_way += 1
            self._credit -= 1
            self._asked.add(search.at) if search.what == "count" else None
            self._busy[self._start_of(search.at)] = search.at
        return search

    def _start_of(self, index: int) -> int:
        """Return the known month before an index; -1 where there is none."""
        return max((known for known in self.cells if known < index), default=-1)

    def _next_plain(self) -> Search | None:
        for index, end in enumerate(self.ends):
            if index not in self.cells and index not in self._asked:
                return Search("count", index, end)
        return None

    def _next_planned(self) -> Search | None:
        last = len(self.ends) - 1
        if last not in self.cells and last not in self._failed:
            return self._count_unasked([last])
        for start, stop in self.open_stretches():
            if start not in self._busy:
                search = self._search_within(start, stop)
                if search is not None:
                    return search
        return None

    def open_stretches(self) -> Iterator[tuple[int, int]]:
        """Yield (known month, next known month) pairs with unknown months between them.

        -1 is the beginning of time; as many as there are months where the last is not known
        """
        before = -1
        for index in sorted(self.cells):
            if index - before > 1:
                yield before, index
            before = index
        if before < len(self.ends) - 1:
            yield before, len(self.ends)

    def _search_within(self, start: int, stop: int) -> Search | None:
        inner = range(start + 1, stop)
        if stop == len(self.ends) or not self._plainly.isdisjoint(inner):
            # The last month could not be counted, or the rule was broken: month by month.
            return self._count_unasked(inner)
        growth = self.cells[stop].value - self._value(start)
        unasked = sum(index not in self._asked for index in inner)
        if len(inner) > 1 and unasked and 0 < growth <= self._read_limit:
            return self._read(start, stop, gamble=False)
        if start == -1:
            return self._count_unasked([0, *self._from_middle(inner)])
        if start in self._dense:
            return self._count_unasked(inner)
        if self._reads_help(growth, len(inner)):
            if self._credit > 0 and unasked > 1:
                return self._read(start, stop, gamble=True)
            return self._count_unasked(self._from_first_reads(inner, growth))
        return self._count_unasked(self._from_middle(inner))

    def _reads_help(self, growth: int, months: int) -> bool:
        """Say whether one read brings more than one month of such growth."""
        return growth < self._read_limit * months * READ_PAYS

    def _from_first_reads(self, inner: range, growth: int) -> list[int]:
        """Order months so that the stretch before the first one is likely to fit one read."""
        fits = int(len(inner) * self._read_limit / growth * 0.75)
        target = inner.start + max(min(fits, len(inner) - 1), 1)
        return sorted(inner, key=lambda index: abs(index - target))

    def _value(self, index: int) -> int:
        return self.cells[index].value if index >= 0 else 0

    @staticmethod
    def _from_middle(inner: range) -> list[int]:
        middle = inner.start + len(inner) // 2
        return sorted(inner, key=lambda index: abs(index - middle))

    def _count_unasked(self, order: Sequence[int]) -> Search | None:
        for index in order:
            if index not in self._asked:
                return Search("count", index, self.ends[index])
        return None

    def _read(self, start: int, stop: int, *, gamble: bool) -> Search:
        begin = self.ends[start] if start >= 0 else BEGINNING
        return Search("read", stop, self.ends[stop], start, begin, gamble)

    # What came back

    def _free(self, search: Search) -> None:
        self._under_way -= 1
        self._busy = {start: at for start, at in self._busy.items() if at != search.at}

    def take_count(self, search: Search, cell: Cell) -> None:
        """Take the answer to a count."""
        self._free(search)
        before = len(self.cells)
        self.cells[search.at] = cell
        if not self._plain:
            self._imply()
        self._credit += len(self.cells) - before

    def take_dates(
        self, search: Search, dates: Sequence[datetime], asked_at: datetime, *, whole: bool = False
    ) -> None:
        """Take creation dates, oldest first; `whole` says that the stretch has no others."""
        self._free(search)
        start, stop = search.after, search.at
        reaches = stop if whole else self._reach(search, dates, asked_at)
        before = len(self.cells)
        oldest = min([asked_at, *(self.cells[i].counted_at for i in (start,) if i >= 0)])
        for index in range(start + 1, reaches):
            value = self._value(start) + bisect.bisect_left(dates, self.ends[index])
            self.cells.setdefault(index, Cell(value, oldest))
        self._credit += len(self.cells) - before
        if reaches == stop:
            return
        if not search.gamble or len(dates) < self._read_limit:
            # The accounts have changed since they were counted: how is not to be guessed.
            self._plainly.update(range(reaches, stop))
            return
        begin = self.ends[reaches - 1] if reaches > 0 else BEGINNING
        if len(dates) - bisect.bisect_left(dates, begin) > self._read_limit / 2:
            self._dense.add(reaches - 1)
        self._imply()

    def _reach(self, search: Search, dates: Sequence[datetime], asked_at: datetime) -> int:
        """Return the first month of the stretch that dates which may not be all leave open."""
        start, stop = search.after, search.at
        growth = self.cells[stop].value - self._value(start)
        if len(dates) == growth:
            return stop
        if len(dates) == self._read_limit:
            # Only months that end at or before the last date are complete.
            return bisect.bisect_right(self.ends, dates[-1], start + 1, stop)
        since_then = bisect.bisect_left(dates, self.ends[stop - 1])
        if since_then <= growth < len(dates) and asked_at < self.ends[stop]:
            # They were counted a moment ago, and the last month goes on: people have signed up.
            return stop
        return start + 1

    def take_failure(self, search: Search, problem: str, *, final: bool) -> None:
        """Take that a search failed; a few failures, or a final one, end this site's asking."""
        self._free(search)
        if search.what == "read":
            self._plainly.update(range(search.after + 1, search.at))
            return
        self.problem = self.problem or problem
        self._failed.add(search.at)
        if final or len(self._failed) >= GIVE_UP_AFTER:
            self.give_up(problem)

    def _imply(self) -> None:
        """Fill every month between two equal counts, and every month before a zero."""
        known = sorted(self.cells)
        before = -1
        for index in known:
            lower = self._value(before)
            here = self.cells[index]
            if index - before > 1 and lower == here.value:
                ages = [here.counted_at]
                ages += [self.cells[before].counted_at] if before >= 0 else []
                for between in set(range(before + 1, index)) - self._plainly:
                    self.cells[between] = Cell(here.value, min(ages))
            elif here.value < lower:
                self._plainly.update(range(before + 1, index))
            before = index
