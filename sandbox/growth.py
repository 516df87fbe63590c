"""How many accounts a site has at any moment, without keeping a single account.

Counts a month come from a hash of the seed; inside a month the n accounts lie in n slices of equal
length, each at a hashed place of its slice, so that the number before a moment and the moment of
the i-th account are arithmetic. A site of six million accounts costs one small array.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass

from sandbox.moments import MS_A_DAY, month_of, month_start_ms

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """Return 64 bits that look random and depend on nothing but the parts (splitmix64)."""
    state = 0
    for part in parts:
        state = _mixed(state, part)
    return state


def _mixed(state: int, part: int) -> int:
    state = (state + (part & _MASK) + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


@dataclass(frozen=True)
class Growth:
    """How a site grows.

    shape: none, quiet, trickle, steady, bursts, busy or import (see `accounts_in_month`)
    first: running number of the month of its first accounts
    last:  running number of the last month with new accounts, None = still growing
    """

    shape: str
    first: int
    last: int | None = None


def accounts_in_month(growth: Growth, seed: int, month: int) -> int:
    """Return how many accounts a site gains in a month."""
    age = month - growth.first
    if age < 0 or (growth.last is not None and month > growth.last):
        return 0
    dice = mix(seed, month, 1)
    match growth.shape:
        case "quiet":
            return 1 + dice % 9 if age < 2 else int(dice % 50 == 0)
        case "trickle":
            return dice % 13
        case "steady":
            return 40 + dice % 160 + 3 * min(age, 120)
        case "bursts":
            return 2000 + (dice >> 8) % 3000 if dice % 5 == 0 else 0
        case "busy":
            return 50_000 + dice % 1000
        case "import":
            return 1200 + dice % 100 if age == 0 else 0
        case _:
            return 0


class Store:
    """The accounts of one site (or of one group, which shares its parent's), up to a moment."""

    def __init__(self, growth: Growth, seed: int, end_ms: int) -> None:
        self._seed = seed
        self._first = growth.first
        self.end_ms = end_ms
        self._sums = array("q", [0])
        for month in range(growth.first, month_of(end_ms) + 1):
            self._sums.append(self._sums[-1] + accounts_in_month(growth, seed, month))
        self.deleted = 0
        self._full = self._index(end_ms)

    @property
    def total(self) -> int:
        """How many accounts there are, deleted ones left out."""
        return self._full - self.deleted

    def count_before(self, moment_ms: int) -> int:
        """Return how many accounts were created before a moment."""
        found = self._full if moment_ms >= self.end_ms else self._index(moment_ms)
        return max(0, found - self.deleted)

    def created_ms(self, position: int) -> int:
        """Return when an account was created; position 0 is the oldest one left."""
        position += self.deleted
        place = bisect_right(self._sums, position) - 1
        before, number = self._sums[place], self._sums[place + 1] - self._sums[place]
        return self._moment(self._first + place, position - before, number)

    def created_run(self, first: int, last: int) -> list[int]:
        """Return when the accounts from position `first` to before `last` were created.

        The same as `created_ms` of each, but what a month's accounts share is worked out once:
        a search may ask for thousands.
        """
        position, end = first + self.deleted, last + self.deleted
        found: list[int] = []
        while position < end:
            place = bisect_right(self._sums, position) - 1
            before, after = self._sums[place], self._sums[place + 1]
            upto = min(end, after)
            found += self._moments(
                self._first + place, range(position - before, upto - before), after - before
            )
            position = upto
        return found

    def login_ms(self, position: int) -> int:
        """Return when an account last signed in: a fixed time after it was created.

        The time is the same for all accounts of a site, so that both orders are one; each site's
        sign-ins stop some while before the data ends, or the newest of all sites would be alike.
        """
        created = self.created_ms(position)
        stay = MS_A_DAY // 2 + mix(self._seed, 7) % (40 * MS_A_DAY)
        stop = self.end_ms - 1 - mix(self._seed, 8) % (MS_A_DAY // 8)
        return max(created, min(created + stay, stop))

    def uid(self, position: int) -> str:
        """Return the 32 hexadecimal digits that name an account."""
        position += self.deleted
        return f"{mix(self._seed, position, 3):016x}{mix(self._seed, position, 4):016x}"

    def delete(self, how_many: int) -> None:
        """Take away the oldest accounts, as if their owners had asked for it."""
        self.deleted = min(self._full, self.deleted + how_many)

    def _index(self, moment_ms: int) -> int:
        month = month_of(moment_ms) if moment_ms > month_start_ms(self._first) else self._first
        place = month - self._first
        if place >= len(self._sums) - 1:
            return self._sums[-1]
        before, number = self._sums[place], self._sums[place + 1] - self._sums[place]
        start = month_start_ms(month)
        if not number or moment_ms <= start:
            return before
        position = (moment_ms - start) * number // (month_start_ms(month + 1) - start)
        return before + position + (self._moment(month, position, number) < moment_ms)

    def _moment(self, month: int, position: int, number: int) -> int:
        [moment] = self._moments(month, range(position, position + 1), number)
        return moment

    def _moments(self, month: int, positions: range, number: int) -> list[int]:
        """Return when some of a month's `number` accounts were created."""
        start = month_start_ms(month)
        length = month_start_ms(month + 1) - start
        shared = mix(self._seed, month)
        found = [
            start + (place * length + _mixed(_mixed(shared, place), 5) % length) // number
            for place in positions
        ]
        # One month in four begins and ends with an account at its very edge, for those who
        # write <= where they mean <.
        if mix(self._seed, month, 2) % 4 == 0:
            if number - 1 in positions:
                found[number - 1 - positions.start] = start + length - 1
            if 0 in positions:
                found[0] = start
        return found
