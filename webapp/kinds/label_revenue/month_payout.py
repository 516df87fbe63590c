"""A month as it is paid: lines, adjustments of locked months, their sums, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from webapp.errors import InvalidParams
from webapp.kinds.label_revenue.books import DEFAULT_CURRENCY
from webapp.kinds.label_revenue.compute import Key, Line, Method, Payout
from webapp.kinds.label_revenue.currencies import amount_text
from webapp.lib.months import month_text, parse_month


@dataclass(frozen=True)
class Adjustment:
    """What a locked month would pay more (or less) to a line than it did, in its own currency."""

    about: date
    key: Key
    minor: int
    currency: str

    @property
    def amount(self) -> str:
        """Return the amount as text with its currency, such as `-0.35 EUR`."""
        return f"{amount_text(self.minor, self.currency)} {self.currency}"


@dataclass(frozen=True)
class MonthPayout:
    """A month as it is paid: its lines, the pool, adjustments of earlier months, and its state.

    foreign: adjustments of months in another currency; they stand beside the sums, never in them
    """

    month: date
    method: Method
    currency: str
    payout: Payout
    adjustments: tuple[Adjustment, ...] = ()
    foreign: tuple[Adjustment, ...] = ()
    locked: bool = False
    from_store: bool = False

    @property
    def pays(self) -> bool:
        """Say whether there is any line; a month without streams has none."""
        return bool(self.payout.lines or self.adjustments)

    def with_due(self, due: Iterable[Adjustment]) -> MonthPayout:
        """Return the month with adjustments, those in its own currency apart from others."""
        sides: tuple[list[Adjustment], list[Adjustment]] = ([], [])
        for one in due:
            sides[one.currency != self.currency].append(one)
        return replace(self, adjustments=tuple(sides[0]), foreign=tuple(sides[1]))

    def owed(self) -> Iterator[tuple[Key, int]]:
        """Yield who is owed how much (minor units of the currency): lines, then adjustments."""
        for line in self.payout.lines:
            yield line.key, line.minor
        for due in self.adjustments:
            yield due.key, due.minor


def foreign(found: Iterable[MonthPayout]) -> list[tuple[date, Adjustment]]:
    """Return the adjustments in another currency than their month's, with the month."""
    return [(one.month, due) for one in found for due in one.foreign]


def one_currency(found: Collection[MonthPayout]) -> str:
    """Return the currency of the months that pay anything; without any, of the last one asked for.

    Raises: InvalidParams where they differ, because amounts of different money do not add up
    """
    by_currency = {one.currency: one.month for one in found if one.pays}
    if len(by_currency) > 1:
        named = ", ".join(f"{name} ({month_text(m)})" for name, m in sorted(by_currency.items()))
        raise InvalidParams({"from": f"These months are in different currencies: {named}."})
    return next(reversed(by_currency or [one.currency for one in found]), DEFAULT_CURRENCY)


def totals(found: Iterable[MonthPayout]) -> tuple[dict[str, int], dict[str, int]]:
    """Return what months pay in all, adjustments with it: to labels, and to nobody by reason."""
    sides: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for one in found:
        for key, minor in one.owed():
            side = sides[0 if key.owned else 1]
            side[key.name] = side.get(key.name, 0) + minor
    return sides


# As JSON, for the store and for locks


def packed(found: MonthPayout) -> dict[str, Any]:
    return {
        "currency": found.currency,
        "pool": found.payout.pool_minor,
        "lines": [[*line.key, line.seconds, line.minor] for line in found.payout.lines],
        "adjustments": [
            [month_text(one.about), *one.key, one.minor, one.currency]
            for one in (*found.adjustments, *found.foreign)
        ],
    }


def unpacked(
    month: date,
    method: Method,
    value: dict[str, Any],
    *,
    locked: bool = False,
    from_store: bool = False,
) -> MonthPayout:
    lines = tuple(Line(Key(*line[:2]), line[2], line[3]) for line in value["lines"])
    currency = value["currency"]
    due = tuple(
        # What was locked before adjustments had a currency is in the month's own.
        Adjustment(parse_month(about), Key(owned, name), minor, *(rest or [currency]))
        for about, owned, name, minor, *rest in value.get("adjustments", ())
    )
    payout = Payout(lines, value["pool"])
    found = MonthPayout(month, method, currency, payout, locked=locked, from_store=from_store)
    return found.with_due(due)
