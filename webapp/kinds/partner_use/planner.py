"""Finds a site's months with the fewest searches: asks only what is not already implied. Pure.

Accounts created before a moment never get fewer as the moment moves forward. So two months with
the same count give every month between them, and nothing comes before a zero. A stretch between
two known months is taken up by the cheapest of three means:

- a count at one of its months, halfway in (halving), resolves that month, or all on one side;
- reading its creation dates, at most `read_limit`, resolves every month of it in one search;
- reading on: the next `read_limit` dates from its start resolve every quiet month up to the next
  growth, and the months of that growth as far as the dates reach. It may resolve nothing, so it
  is tried only on what earlier searches have saved.

A read is used for two months or more, where it costs less than the counts it saves. While nobody
comes or goes a site never costs more searches than its months.

Accounts come and go between two searches. Dates that are all of a site by the partner's own total
win over the count before them. Where dates and counts cannot be reconciled, or a later month was
counted lower than an earlier one, every month is counted anew by itself, once. Where a stored month
is contradicted, by a count or by another one, all that is stored of the site is asked again.
`Count.counted_at` of an implied month is the older of what implied it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise

from webapp.kinds.partner_use.search import Economy, Search, stretches
from webapp.lib.months import month_end, month_text
from webapp.partner.searches import Count, Created

GIVE_UP_AFTER = 2
# Growth per month, as a share of what one read brings, up to which reading on is worth trying.
READ_PAYS = 0.75


class SitePlan:
    """The months of one site, oldest first, and what is to be asked to know them all.

    known:      counts that need no search
    read_limit: most creation dates one search may bring; 0 asks by counts only
    plain:      ask every month by itself
    """

    def __init__(
        self,
        months: Sequence[date],
        known: Mapping[date, Count],
        *,
        read_limit: int,
        plain: bool = False,
        economy: Economy | None = None,
    ) -> None:
        self.months = months
        self.problem: str | None = None
        self.searches = self.under_way = 0
        self._ends = [month_end(month) for month in months]
        self._index = {month: index for index, month in enumerate(months)}
        self._cells: dict[int, Count] = {}
        self._fresh: set[int] = set()
        self._read_limit = read_limit
        self._economy = economy or Economy()
        self._plain, self._recounted = plain, False
        self._asked: set[int] = set()
        self._failed: set[int] = set()
        self._busy: dict[int, int] = {}
        self._plainly: set[int] = set()
        self._dense: set[int] = set()
        self._credit = 0
        self._given_up = False
        self._wanted = len(months)
        self.learn(known)

    @property
    def counts(self) -> dict[date, Count]:
        """Return what is known, by month."""
        return {self.months[index]: cell for index, cell in self._cells.items()}

    @property
    def unknown(self) -> int:
        """Return how many months have no value yet."""
        return len(self.months) - len(self._cells)

    @property
    def resolved(self) -> int:
        """Return how many of the months that were not known before have a value now."""
        return self._wanted - self.unknown

    @property
    def finished(self) -> bool:
        """Return whether no answer is to come and no search is left: known, given up, or failed."""
        if self.under_way or self._given_up:
            return not self.under_way
        if not self.is_settled and not self._recounted:
            return False
        return all(at in self._cells or at in self._asked for at in range(len(self.months)))

    @property
    def is_settled(self) -> bool:
        """Return whether no later month was just counted lower than an earlier one."""
        fresh = [self._cells[index].value for index in sorted(self._fresh & self._cells.keys())]
        return all(earlier <= later for earlier, later in pairwise(fresh))

    def learn(self, counts: Mapping[date, Count]) -> int:
        """Take what was found out elsewhere; return how many months that resolved."""
        before = self.unknown
        for month, count in counts.items():
            self._cells.setdefault(self._index[month], count)
        self._wanted -= (learned := before - self.unknown)
        self._conclude()
        return learned

    def without_reads(self) -> None:
        """Ask by counts only from now on: the key may not read creation dates."""
        self._read_limit = 0

    def give_up(self, problem: str) -> None:
        """Ask nothing more; what has no value is a hole."""
        self.problem, self._given_up = self.problem or problem, True

    def next_search(self) -> Search | None:
        """Return a search that may be sent now, beside those under way; None if there is none."""
        if self._given_up:
            return None
        every = range(len(self.months))
        search = self._count_unasked(every) if self._plain else self._next_planned()
        if search is None and not (self.under_way or self._recounted or self.is_settled):
            self._count_each_month()
            search = self._count_unasked(every)
        if search is not None:
            self.searches += 1
            self.under_way += 1
            self._credit -= 1
            if search.what == "count":
                self._asked.add(search.at)
            before = max((known for known in self._cells if known < search.at), default=-1)
            self._busy[before] = search.at
        return search

    def open_stretches(self) -> Iterator[tuple[int, int]]:
        """Yield the stretches of months that are not known."""
        return stretches(self._cells, len(self.months))

    def growth(self, start: int, stop: int) -> int:
        """Return by how many accounts a site grew between two known months, by index."""
        return self._cells[stop].value - self._value_at(start)

    def _value_at(self, index: int) -> int:
        return self._cells[index].value if index >= 0 else 0

    def _next_planned(self) -> Search | None:
        last = len(self.months) - 1
        if last not in self._cells and last not in self._failed:
            if self.under_way:
                return None  # its answer says how the others are asked
            untouched = not (self._asked or self._cells or self._plainly)
            if untouched and last > 1 and self._economy.read_first_pays(self._read_limit):
                return self._read_search(-1, last, gamble=True)
            return self._count_unasked([last])
        for start, stop in self.open_stretches():
            if start not in self._busy:
                search = self._search_within(start, stop)
                if search is not None:
                    return search
        return None

    def _search_within(self, start: int, stop: int) -> Search | None:
        inner = range(start + 1, stop)
        if stop == len(self.months) or not self._plainly.isdisjoint(inner):
            # The last month could not be counted, or the rule was broken: month by month.
            return self._count_unasked(inner)
        growth = self.growth(start, stop)
        unasked = sum(index not in self._asked for index in inner)
        if len(inner) > 1 and unasked and 0 < growth <= self._read_limit:
            # Each month of growth is found by halving.
            counts = min(unasked, 1 + growth * len(inner).bit_length())
            if self._economy.read_pays(growth, counts):
                return self._read_search(start, stop, gamble=False)
        if start == -1:
            return self._count_unasked([0, *_nearest_to(inner.start + len(inner) // 2, inner)])
        if start in self._dense:
            return self._count_unasked(inner)
        # Whether one read brings more than one month of such growth.
        fits = self._read_limit * len(inner) / max(growth, 1)
        if growth < self._read_limit * len(inner) * READ_PAYS and self._economy.read_pays(
            self._read_limit, min(fits, len(inner))
        ):
            if self._credit > 0 and unasked > 1:
                return self._read_search(start, stop, gamble=True)
            # The stretch before it is likely to fit one read.
            ahead = max(min(int(fits * 0.75), len(inner) - 1), 1)
            return self._count_unasked(_nearest_to(inner.start + ahead, inner))
        return self._count_unasked(_nearest_to(inner.start + len(inner) // 2, inner))

    def _count_unasked(self, order: Sequence[int]) -> Search | None:
        for index in order:
            if index not in self._asked and index not in self._cells:
                return Search("count", index, self._ends[index])
        return None

    def _read_search(self, start: int, stop: int, *, gamble: bool) -> Search:
        begin = self._ends[start] if start >= 0 else None
        return Search("read", stop, self._ends[stop], start, begin, gamble)

    def _end_search(self, search: Search) -> None:
        self.under_way -= 1
        self._busy = {start: at for start, at in self._busy.items() if at != search.at}

    def take_count(self, search: Search, count: Count) -> None:
        """Take the answer to a count."""
        self._end_search(search)
        before = len(self._cells)
        if search.at == len(self.months) - 1:
            self._economy.note_site(small=count.value <= self._read_limit)
        self._cells[search.at] = count
        self._fresh.add(search.at)
        self._conclude()
        self._credit += max(0, len(self._cells) - before)

    def take_dates(self, search: Search, found: Created) -> None:
        """Take creation dates, oldest first."""
        self._end_search(search)
        if search.after >= 0 and search.after not in self._cells:
            return  # what it was to go on from is believed no more
        before = len(self._cells)
        last = len(self.months) - 1
        if search.after < 0 and found.whole:
            # All of a site: they need no count, and are newer than those there are.
            if search.at not in self._cells:
                self._economy.note_site(small=True)
            elif self._cells[search.at].value != len(found.dates) and search.at < last:
                self._count_each_month()  # what is known beyond is of before, too
            self._take_oldest(search, found, search.at + 1)
        elif search.at not in self._cells:
            self._plainly.add(-1)  # it is not read first again
            # Without a total it is not known whether fewer dates are all there are.
            if len(found.dates) >= self._read_limit:
                self._take_oldest(
                    search, found, bisect.bisect_right(self._ends, found.dates[-1], 0, last)
                )
        elif found.whole and len(found.dates) != self.growth(search.after, search.at):
            self._count_each_month()
        else:
            self._take_stretch(search, found)
        self._conclude()
        self._credit += max(0, len(self._cells) - before)

    def _take_oldest(self, search: Search, found: Created, months: int) -> None:
        """Take the oldest accounts of a site, which are all of so many months."""
        by = self._read_by(-1, search.at)
        for index in range(months):
            value = bisect.bisect_left(found.dates, self._ends[index])
            self._cells[index] = Count(value, found.asked_at, "read", by)
            self._fresh.add(index)

    def _take_stretch(self, search: Search, found: Created) -> None:
        start, stop, dates = search.after, search.at, found.dates
        reaches = stop if found.whole else self._reach(search, dates, found.asked_at)
        oldest = min([found.asked_at, *(self._cells[i].counted_at for i in (start,) if i >= 0)])
        by = self._read_by(start, stop)
        for index in range(start + 1, reaches):
            value = self._value_at(start) + bisect.bisect_left(dates, self._ends[index])
            self._cells.setdefault(index, Count(value, oldest, "read", by))
            self._fresh.add(index)
        if reaches == stop:
            return
        if not search.gamble or len(dates) < self._read_limit:
            # The accounts have changed since they were counted: how is not to be guessed.
            self._plainly.update(range(reaches, stop))
            return
        earlier = bisect.bisect_left(dates, self._ends[reaches - 1]) if reaches > 0 else 0
        if len(dates) - earlier > self._read_limit / 2:
            self._dense.add(reaches - 1)

    def _read_by(self, start: int, stop: int) -> tuple[str | int | None, ...]:
        begin = month_text(self.months[start]) if start >= 0 else None
        return begin, month_text(self.months[stop]), self._read_limit

    def _reach(self, search: Search, dates: Sequence[datetime], asked_at: datetime) -> int:
        """Return the first month of the stretch that dates which may not be all leave open."""
        start, stop = search.after, search.at
        growth = self.growth(start, stop)
        if len(dates) == growth:
            return stop
        if len(dates) == self._read_limit:
            # Only months that end at or before the last date are complete.
            return bisect.bisect_right(self._ends, dates[-1], start + 1, stop)
        since_then = bisect.bisect_left(dates, self._ends[stop - 1])
        if since_then <= growth < len(dates) and asked_at < self._ends[stop]:
            # They were counted a moment ago, and the last month goes on: people have signed up.
            return stop
        return start + 1

    def take_failure(self, search: Search, problem: str, *, final: bool) -> None:
        """Take that a search failed; a few failures, or a final one, end this site's asking."""
        self._end_search(search)
        if search.what == "read":
            first = search.after + 1 if search.at in self._cells else -1
            self._plainly.update(range(first, search.at if first >= 0 else 0))
            return
        self.problem = self.problem or problem
        self._failed.add(search.at)
        if final or len(self._failed) >= GIVE_UP_AFTER:
            self.give_up(problem)

    def _conclude(self) -> None:
        """Forget stored months that are contradicted; fill every month that is implied."""
        values = [self._cells[index].value for index in sorted(self._cells)]
        stored = sum(cell.is_stored for cell in self._cells.values())
        if stored and any(earlier > later for earlier, later in pairwise(values)):
            # Since they were counted accounts have gone, or came with older dates: none of the site
            # is sure, nor what was found from one of them on.
            self._wanted += stored
            self._cells = {
                index: cell
                for index, cell in self._cells.items()
                if not cell.is_stored and (cell.how == "count" or cell.by[:1] == (None,))
            }
            self._fresh &= self._cells.keys()
            self._plainly.clear()
            self._dense.clear()
        if not self._plain:
            self._imply()

    def _imply(self) -> None:
        """Fill every month between two equal counts, and every month before a zero."""
        before = -1
        for index in sorted(self._cells):
            lower, here = self._value_at(before), self._cells[index]
            if index - before > 1 and lower == here.value:
                ends = [at for at in (before, index) if at >= 0]
                oldest = min(self._cells[at].counted_at for at in ends)
                by = tuple(month_text(self.months[at]) for at in ends)
                for between in set(range(before + 1, index)) - self._plainly:
                    self._cells[between] = Count(here.value, oldest, "implied", by)
            elif here.value < lower:
                self._plainly.update(range(before + 1, index))
            before = index

    def _count_each_month(self) -> None:
        """Forget what was found and count every month by itself, once."""
        self._plain, self._recounted = True, True
        for forgotten in (self._cells, self._fresh, self._asked, self._failed):
            forgotten.clear()


def _nearest_to(target: int, inner: range) -> list[int]:
    return sorted(inner, key=lambda index: abs(index - target))
