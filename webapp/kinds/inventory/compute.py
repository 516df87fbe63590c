"""What entries amount to: pure sums over lines, exact, by scope, category and unit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

SCOPES = (1, 2, 3)
TOTAL = "Total"
# Products have up to 24 places; a sum of any number of them must not be rounded.
EXACT = Context(prec=200)
ZERO = Decimal(0)


def emissions_of(quantity: Decimal, factor: Decimal) -> Decimal:
    """Return quantity times factor, exactly; in kg CO2e."""
    return EXACT.multiply(quantity, factor)


def plain(value: Decimal) -> str:
    """Return a decimal as people write it: no exponent, no zeros at the end of a fraction."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


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

    by_category: (scope, category) → emissions
    by_unit:     unit key → scope → emissions of its own entries
    """

    rows: int = 0
    total: Decimal = ZERO
    by_scope: dict[int, Decimal] = field(default_factory=lambda: dict.fromkeys(SCOPES, ZERO))
    by_category: dict[tuple[int, str], Decimal] = field(default_factory=dict)
    category_rows: dict[tuple[int, str], int] = field(default_factory=dict)
    by_unit: dict[int, dict[int, Decimal]] = field(
        default_factory=lambda: defaultdict(lambda: dict.fromkeys(SCOPES, ZERO))
    )

    def add(self, unit_key: int, scope: int, category: str, emissions: Decimal) -> None:
        """Count one entry in."""
        self.rows += 1
        self.total = EXACT.add(self.total, emissions)
        self.by_scope[scope] = EXACT.add(self.by_scope[scope], emissions)
        place = (scope, category)
        self.by_category[place] = EXACT.add(self.by_category.get(place, ZERO), emissions)
        self.category_rows[place] = self.category_rows.get(place, 0) + 1
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


def category_lines(now: Totals, base: Totals | None) -> list[Line]:
    """Return a line per scope and category of either period, by scope, the largest first."""
    places = set(now.by_category) | set(base.by_category if base else ())
    lines = []
    for scope, category in places:
        emissions = now.by_category.get((scope, category), ZERO)
        before = base.by_category.get((scope, category), ZERO) if base else None
        count = now.category_rows.get((scope, category), 0)
        lines.append({"scope": scope, "rows": count, **_compared(category, emissions, before)})
    return sorted(lines, key=lambda line: (line["scope"], -line["emissions"], line["name"]))


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
