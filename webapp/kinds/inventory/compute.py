"""What entries amount to: pure sums over lines, exact, by scope, category and unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, TypeVar

SCOPES = (1, 2, 3)
TOTAL = "Total"
# Products have up to 24 places; a sum of any number of them must not be rounded.
EXACT = Context(prec=200)
ZERO = Decimal(0)
# Of sources of factors so many are told apart.
MOST_SOURCES = 500
OTHER = "Other"
# Before the source of an entry whose factor has no value yet; its emissions count as nothing.
NO_FACTOR = "No factor yet: "
# Emissions and how many entries they are of.
Counted = tuple[Decimal, int]
Key = TypeVar("Key", int, str, tuple[int, str], tuple[str, str])


def emissions_of(
    quantity: Decimal, factor: Decimal, warming_potential: Decimal | None = None
) -> Decimal:
    """Return quantity times factor, and times what a kg of its gas counts for; in kg CO2e."""
    product = EXACT.multiply(quantity, factor)
    return product if warming_potential is None else EXACT.multiply(product, warming_potential)


def change(now: Decimal, base: Decimal | None) -> Decimal | None:
    """Return by how much a value changed since the base, None where there is no base."""
    return None if base is None else EXACT.subtract(now, base)


def change_percent(now: Decimal, base: Decimal | None) -> Decimal | None:
    """Return the change in percent of the base, 2 places; None without a base or with zero."""
    if not base:
        return None
    hundredfold = EXACT.multiply(EXACT.subtract(now, base), Decimal(100))
    return EXACT.divide(hundredfold, EXACT.abs(base)).quantize(Decimal("0.01"), context=EXACT)


@dataclass
class Totals:
    """Exact sums of one period's entries. All emissions in kg CO2e.

    total:    with scope 2 by location, without what is biogenic, which stands apart
    by_place: scope, category → emissions and entries
    by_unit:  unit key → scope → emissions of its own entries
    by_gas:   gas, what a kg of it counts for → emissions, where entries name a gas
    by_source: source of the factor → emissions and entries
    """

    rows: int = 0
    total: Decimal = ZERO
    market: Decimal = ZERO
    biogenic: Decimal = ZERO
    by_scope: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(SCOPES, ZERO))
    by_place: dict[tuple[int, str], Counted] = field(default_factory=dict)
    by_unit: dict[int, dict[int, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: dict.fromkeys(SCOPES, ZERO))
    )
    by_gas: dict[tuple[str, str], Counted] = field(default_factory=dict)
    by_source: dict[str, Counted] = field(default_factory=dict)

    def add(
        self,
        unit_key: int,
        scope: int,
        category: str,
        emissions: Decimal,
        *,
        gas: tuple[str, str] = ("", ""),
        source: str = "",
        basis: str = "",
        is_biogenic: bool = False,
    ) -> None:
        """Count one entry in."""
        self.rows += 1
        if source not in self.by_source and len(self.by_source) >= MOST_SOURCES:
            source = OTHER
        _count(self.by_source, source, emissions)
        if gas[0]:
            _count(self.by_gas, gas, emissions)
        if is_biogenic:
            self.biogenic = EXACT.add(self.biogenic, emissions)
            return
        if scope == 2 and basis != "location":
            self.market = EXACT.add(self.market, emissions)
        if basis == "market":
            return
        self.total = EXACT.add(self.total, emissions)
        self.by_scope[scope] = EXACT.add(self.by_scope[scope], emissions)
        _count(self.by_place, (scope, category), emissions)
        unit = self.by_unit[unit_key]
        unit[scope] = EXACT.add(unit[scope], emissions)

    def of_unit(self, unit_key: int) -> dict[int, Decimal]:
        """Return a unit's own emissions by scope."""
        return self.by_unit.get(unit_key) or dict.fromkeys(SCOPES, ZERO)


Line = dict[str, Any]


def scope_lines(now: Totals, base: Totals | None) -> list[Line]:
    """Return a line per scope and one for all; `base` and the changes are None without a base."""
    lines = [
        _compared(f"Scope {scope}", now.by_scope[scope], base.by_scope[scope] if base else None)
        for scope in SCOPES
    ]
    return [*lines, _compared(TOTAL, now.total, base.total if base else None)]


def _compared(name: str, emissions: Decimal, base: Decimal | None) -> Line:
    return {
        "name": name,
        "emissions": emissions,
        "base": base,
        "change": change(emissions, base),
        "change_percent": change_percent(emissions, base),
    }


def lines_by(
    now: Mapping[Key, Counted], base: Mapping[Key, Counted] | None, keys: Iterable[Key]
) -> list[Line]:
    """Return a line for each key, with both periods' emissions and the entries of this one."""
    nothing: Counted = (ZERO, 0)
    found = []
    for key in keys:
        emissions, rows = now.get(key, nothing)
        before = base.get(key, nothing)[0] if base is not None else None
        found.append({"key": key, "rows": rows, **_compared("", emissions, before)})
    return found


def category_lines(now: Totals, base: Totals | None) -> list[Line]:
    """Return a line per scope and category of either period, by scope, the largest first."""
    before = base.by_place if base else None
    lines = lines_by(now.by_place, before, {*now.by_place, *(before or ())})
    for line in lines:
        line["scope"], line["name"] = line.pop("key")
    return sorted(lines, key=lambda line: (line["scope"], -line["emissions"], line["name"]))


def apart_lines(now: Totals, base: Totals | None) -> list[Line]:
    """Return scope 2 by location and by market, and what is biogenic."""
    return [
        _compared("Scope 2, location-based", now.by_scope[2], base.by_scope[2] if base else None),
        _compared("Scope 2, market-based", now.market, base.market if base else None),
        _compared("Biogenic, in no total", now.biogenic, base.biogenic if base else None),
    ]


def standard_lines(
    now: Totals,
    base: Totals | None,
    names: Mapping[int, str],
    number_of: Callable[[int, str], int | None],
) -> list[Line]:
    """Return a line per category of a standard, and one of what belongs to none of them.

    number_of: returns the number of a scope and category, 0 for none, None where it is left out
    """

    def grouped(totals: Totals) -> dict[int, Counted]:
        found: dict[int, Counted] = {}
        for (scope, category), (emissions, rows) in totals.by_place.items():
            if (number := number_of(scope, category)) is not None:
                _count(found, number, emissions, rows)
        return found

    ours, before = grouped(now), grouped(base) if base else None
    others = [0] if 0 in ours or 0 in (before or ()) else []
    lines = lines_by(ours, before, [*names, *others])
    for line in lines:
        number = line.pop("key")
        line["name"] = f"{number}. {names[number]}" if number else "Of no category known here"
    return lines


def _count(counts: dict[Key, Counted], key: Key, emissions: Decimal, rows: int = 1) -> None:
    before, count = counts.get(key, (ZERO, 0))
    counts[key] = EXACT.add(before, emissions), count + rows


def unit_lines(
    now: Totals, base: Totals | None, units: list[tuple[int, str, str, int, int | None]]
) -> list[Line]:
    """Return a line per unit in the order given: own emissions by scope, and with all below.

    units: key, id, name, depth, key of the parent; parents before children
    """
    lines: dict[int, Line] = {}
    for key, unit_id, name, depth, _ in units:
        own, before = now.of_unit(key), base.of_unit(key) if base else None
        lines[key] = {
            "id": unit_id,
            "name": name,
            "depth": depth,
            **{f"scope_{scope}": own[scope] for scope in SCOPES},
            "own": _sum(own.values()),
            "emissions": _sum(own.values()),
            "base": _sum(before.values()) if before else None,
        }
    for key, _, _, _, parent in reversed(units):
        if parent in lines:
            line, above = lines[key], lines[parent]
            above["emissions"] = EXACT.add(above["emissions"], line["emissions"])
            if base:
                above["base"] = EXACT.add(above["base"], line["base"])
    return list(lines.values())


def _sum(values: Any) -> Decimal:
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total
