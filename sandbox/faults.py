"""Faults on demand: rules that say which calls go wrong, how, and how often."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.methods import Call
from sandbox.partners import Site

# How a fault is made decides where it lives: in the envelope, in the answer, or on the wire.
ANSWER_FAULTS = frozenset({
    "no-error-code", "text-count", "float-count", "negative-count", "huge-count", "null-count",
    "two-rows", "no-rows", "fewer-rows", "missing-results", "duplicate-sites", "hostile-names",
    "no-data-center", "hostile-data-center", "foreign-partner",
})  # fmt: skip
WIRE_FAULTS = frozenset({
    "reset", "hang", "slow", "truncated", "cut", "cut-gzip", "gzip-bomb", "huge", "html", "empty",
    "null", "array", "bom", "wrong-type", "redirect",
})  # fmt: skip
OTHER_FAULTS = frozenset({"error", "http", "bad-domain", "deletion", "latency"})
NEEDS_NUMBER = frozenset({"error", "http", "latency"})
COUNT_FAULTS = frozenset({"text-count", "float-count", "negative-count", "huge-count",
                          "null-count", "two-rows", "no-rows"})  # fmt: skip
SITES_FAULTS = frozenset({"duplicate-sites", "foreign-partner"})


class BadRule(ValueError):
    """A fault rule that cannot be understood; the text says why."""


@dataclass
class Rule:
    """One rule.

    method:      such as accounts.search; None = any
    site:        API key or site id; None = any
    partner:     partner id; None = any
    query:       a piece of the query text; None = any
    fault:       its name, with `:argument` where it takes one, e.g. error:500001, http:429:5
    times:       how often it still happens; None = without end
    probability: 0 to 1, for each call
    """

    fault: str
    method: str | None = None
    site: str | None = None
    partner: str | None = None
    query: str | None = None
    times: int | None = None
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in ANSWER_FAULTS | WIRE_FAULTS | OTHER_FAULTS:
            raise BadRule(f"There is no fault called {self.name!r}.")
        if self.name in NEEDS_NUMBER and not self.argument.split(":")[0].isdigit():
            raise BadRule(f"The fault {self.name} needs a number, such as {self.name}:500.")
        if not 0 <= self.probability <= 1:
            raise BadRule("A probability lies between 0 and 1.")

    @property
    def name(self) -> str:
        """The fault without its argument."""
        return self.fault.partition(":")[0]

    @property
    def argument(self) -> str:
        """What follows the fault's first colon."""
        return self.fault.partition(":")[2]

    def number(self, default: int = 0) -> int:
        """Return the first argument as a whole number."""
        first = self.argument.split(":")[0]
        return int(first) if first.isdigit() else default

    def fits(self, call: Call, partner: int | None, site: Site | None) -> bool:
        """Whether this rule is about a call, its chance left aside."""
        if self.times == 0 or self.method not in {None, call.method}:
            return False
        if self.partner not in {None, str(partner)}:
            return False
        names = {None} if site is None else {None, site.api_key, str(site.site_id)}
        if self.site not in names:
            return False
        text = call.params.get("query", "")
        if self.name in COUNT_FAULTS and "count(" not in text.lower().replace(" ", ""):
            return False
        if self.name in SITES_FAULTS and call.method != "admin.getUserSites":
            return False
        return self.query is None or self.query.lower() in text.lower()


class FaultBook:
    """The rules in force; the first that fits decides."""

    def __init__(self, seed: int = 1) -> None:
        self.rules: list[Rule] = []
        self._dice = random.Random(seed)

    def replace(self, rules: Iterable[Rule]) -> None:
        """Put other rules in force."""
        self.rules = list(rules)

    def pick(self, call: Call, partner: int | None, site: Site | None) -> Rule | None:
        """Return the rule that strikes this call, and count it."""
        for rule in self.rules:
            if rule.fits(call, partner, site) and (
                rule.probability >= 1 or self._dice.random() < rule.probability
            ):
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rules with what is left of their times."""
        return [asdict(rule) for rule in self.rules]


def read_rules(given: object) -> list[Rule]:
    """Return rules from JSON: a list of objects with the members of `Rule`. Raises BadRule."""
    if not isinstance(given, list) or not all(isinstance(rule, Mapping) for rule in given):
        raise BadRule("Give a list of rules.")
    return [_read_rule(rule) for rule in given]


def _read_rule(given: Mapping[str, Any]) -> Rule:
    fields = {name: value for name, value in given.items() if value is not None}
    unknown = set(fields) - set(Rule.__dataclass_fields__)
    if unknown or not isinstance(fields.get("fault"), str):
        raise BadRule(f"A rule needs a fault; not known: {', '.join(sorted(unknown)) or '-'}.")
    for name in ("site", "partner"):
        if name in fields:
            fields[name] = str(fields[name])
    try:
        fields["times"] = int(fields["times"]) if "times" in fields else None
        fields["probability"] = float(fields.get("probability", 1.0))
    except (TypeError, ValueError) as error:
        raise BadRule("times and probability are numbers.") from error
    return Rule(**fields)


def parse_rules(text: str) -> list[Rule]:
    """Return rules from the command line, separated by `;`.

    Shape: METHOD:FAULT[:ARGUMENT][:p=0.05][:times=3][:site=…][:partner=…][:query=…], METHOD * = any
    Raises: BadRule
    """
    return [_parse_rule(part.strip()) for part in text.split(";") if part.strip()]


def _parse_rule(text: str) -> Rule:
    method, _, rest = text.partition(":")
    names = {"p": "probability", "times": "times", "site": "site", "partner": "partner",
             "query": "query"}  # fmt: skip
    fields: dict[str, Any] = {"method": None if method == "*" else method}
    fault = []
    for piece in rest.split(":"):
        name, sign, value = piece.partition("=")
        if sign and name in names:
            fields[names[name]] = value
        else:
            fault.append(piece)
    return _read_rule(fields | {"fault": ":".join(fault)})
