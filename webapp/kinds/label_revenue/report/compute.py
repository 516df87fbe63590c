"""What each label is owed, exactly: pure arithmetic over facts, no database.

Money is counted in minor units (cents) as fractions, and rounded once, at the very end, by largest
remainder: the lines always add up to the pool. No float is ever involved.

pool:     all net fees of a month in one pool, shared by seconds streamed
listener: each listener's net fee, shared by that listener's own seconds
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

Method = Literal["pool", "listener"]
METHODS: dict[Method, str] = {
    "pool": "Pool: all net fees of a month, shared by seconds streamed",
    "listener": "Listener: each net fee, shared by that listener's own seconds",
}

NO_LABEL = "Track without a label"
NO_LISTENER = "Stream of an unknown listener"
NO_STREAMS = "Listener without streams"
NOTHING_STREAMED = "Nothing streamed in the month"

# Beyond this many (listener, label) pairs fractions with a common denominator grow too long.
PAIRS_IN_FRACTIONS = 20_000
FIXED_POINT = 1 << 128


class Key(NamedTuple):
    """What a line is about: a label, or a reason why money has no owner (`owned` False)."""

    owned: bool
    name: str


def in_order(key: Key) -> tuple[bool, str]:
    """Return what keys are sorted by: labels by name, then the rest."""
    return not key.owned, key.name


@dataclass(frozen=True)
class Line:
    """One line of a month: who gets it, for how many seconds, how much in minor units."""

    key: Key
    seconds: int
    minor: int


@dataclass(frozen=True)
class Payout:
    """A month's lines and the pool they add up to, minor units; labels by name, then the rest."""

    lines: tuple[Line, ...]
    pool_minor: int


class Group(NamedTuple):
    """Seconds of one label by many listeners of one net fee, added up in fixed point.

    scaled: each part of a listener's seconds, in steps of 1/FIXED_POINT, each rounded down
    pairs:  how many listeners these are
    """

    net: Fraction
    key: Key
    seconds: int
    scaled: int
    pairs: int


class Pair(NamedTuple):
    """One listener's seconds of one label: the listener's net fee and all their seconds with it."""

    net: Fraction
    total_seconds: int
    key: Key
    seconds: int


def net_fee(fee: Decimal, share: Decimal, digits: int) -> Fraction:
    """Return the part of a fee that is shared out, in minor units, exactly."""
    return Fraction(fee) * Fraction(share) * Fraction(int(10**digits))


def rounded(value: Fraction) -> int:
    """Return the whole number nearest to a fraction that is not negative, a half upwards."""
    return (value + Fraction(1, 2)).__floor__()


def apportion(exact: Mapping[Key, Fraction], total: Fraction) -> dict[Key, int]:
    """Round shares of a total so that they add up to the rounded total.

    Each share loses its fraction, and what is missing goes, one minor unit each, to the largest
    remainders; equal remainders go by label name, unallocated money last.
    """
    floors = {key: share.__floor__() for key, share in exact.items()}
    missing = rounded(total) - sum(floors.values())

    by_remainder = sorted(exact, key=lambda key: (floors[key] - exact[key], in_order(key)))
    for key in by_remainder[:missing]:
        floors[key] += 1
    return floors


def pool_payout(net_total: Fraction, seconds: Mapping[Key, int]) -> Payout:
    """Share all net fees by seconds; without a second the pool is one unallocated line."""
    total_seconds = sum(seconds.values())
    if not total_seconds:
        minor = rounded(net_total)
        lines = (Line(Key(False, NOTHING_STREAMED), 0, minor),) if minor else ()
        return Payout(lines, minor)
    exact = {key: net_total * part / total_seconds for key, part in seconds.items() if part}
    return _payout(exact, seconds, net_total)


def listener_payout(
    net_total: Fraction,
    net_idle: Fraction,
    pairs: Callable[[], Iterable[Pair]],
    unknown_seconds: int = 0,
    *,
    groups: Callable[[], Iterable[Group]] | None = None,
    exact_up_to: int = PAIRS_IN_FRACTIONS,
) -> Payout:
    """Share each listener's net fee by that listener's own seconds.

    net_total:       of all listeners; net_idle: of those without a second streamed
    pairs:           called again for a second look where the first was not sharp enough
    unknown_seconds: of listeners who pay nothing that is known of: a line without money
    groups:          the same pairs added up already, by who can do that faster
    exact_up_to:     so many pairs are added up as fractions; more in fixed point, where it does
    """
    found = groups() if groups is not None else map(_group, pairs())
    exact, seconds = _shares(found, pairs, exact_up_to)
    if net_idle:
        exact[Key(False, NO_STREAMS)] = net_idle
    if unknown_seconds:
        exact[Key(False, NO_LISTENER)] = Fraction(0)
        seconds[Key(False, NO_LISTENER)] = unknown_seconds
    return _payout(exact, seconds, net_total)


def _payout(exact: Mapping[Key, Fraction], seconds: Mapping[Key, int], total: Fraction) -> Payout:
    minor = apportion(exact, total)
    lines = (Line(key, seconds.get(key, 0), minor[key]) for key in sorted(exact, key=in_order))
    return Payout(tuple(lines), rounded(total))


def _group(pair: Pair) -> Group:
    scaled = FIXED_POINT // pair.total_seconds * pair.seconds
    return Group(pair.net, pair.key, pair.seconds, scaled, 1)


def _shares(
    groups: Iterable[Group], pairs: Callable[[], Iterable[Pair]], exact_up_to: int
) -> tuple[dict[Key, Fraction], dict[Key, int]]:
    """Return each key's exact share and seconds; for many pairs, a share that rounds as exactly."""
    low: dict[Key, int] = defaultdict(int)
    reach: dict[Key, int] = defaultdict(int)
    seconds: dict[Key, int] = defaultdict(int)
    count = 0
    for net, key, part, scaled, of_pairs in groups:
        count += of_pairs
        seconds[key] += part
        low[key] += net.numerator * scaled // net.denominator
        # Every part lost less than a step a second, and the group less than one more.
        reach[key] += net.numerator * part // net.denominator + 2
    if count <= exact_up_to:
        return _fractions(pairs(), set(seconds)), dict(seconds)
    blurred = _blurred(low, reach)
    sharp = _fractions(pairs(), blurred) if blurred else {}
    exact = {key: sharp.get(key, Fraction(value, FIXED_POINT)) for key, value in low.items()}
    return exact, dict(seconds)


def _blurred(low: Mapping[Key, int], reach: Mapping[Key, int]) -> set[Key]:
    """Return the keys whose rounding, or whose place among the remainders, is not yet certain.

    A key's share lies less than `reach` steps above `low`.
    """
    blurred = {
        key
        for key, value in low.items()
        if value // FIXED_POINT != (value + reach[key]) // FIXED_POINT
    }
    ordered = sorted(low, key=lambda key: low[key] % FIXED_POINT)
    end, holder = -1, None
    for key in ordered:
        start = low[key] % FIXED_POINT
        if holder is not None and start <= end:
            blurred |= {key, holder}
        if start + reach[key] > end:
            end, holder = start + reach[key], key
    return blurred


def _fractions(pairs: Iterable[Pair], wanted: set[Key]) -> dict[Key, Fraction]:
    """Return the exact shares of some keys, added up by common denominators first."""
    parts: dict[Key, dict[int, int]] = {key: defaultdict(int) for key in wanted}
    for net, total_seconds, key, seconds in pairs:
        if key in wanted:
            parts[key][net.denominator * total_seconds] += net.numerator * seconds
    return {key: _added([Fraction(n, d) for d, n in found.items()]) for key, found in parts.items()}


def _added(fractions: list[Fraction]) -> Fraction:
    """Add up in pairs, so that long denominators meet late."""
    while len(fractions) > 1:
        fractions = [
            sum(fractions[first : first + 2], Fraction(0)) for first in range(0, len(fractions), 2)
        ]
    return fractions[0] if fractions else Fraction(0)
