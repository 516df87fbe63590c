"""The query language of accounts.search, as much of it as a count or a list of dates needs.

SELECT fields FROM accounts [WHERE a [AND b …]] [ORDER BY field [ASC|DESC]] [START n] [LIMIT n],
in this order only. Conditions compare `created` with a quoted ISO moment or `createdTimestamp`
with whole milliseconds; since accounts are kept by creation, they come down to one range.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sandbox.growth import Store
from sandbox.moments import NEVER, iso, parse_iso
from sandbox.partners import Site

COUNT = "count(*)"
FIELDS = ("UID", "created", "createdTimestamp", "lastLogin", "lastLoginTimestamp")
DEFAULT_LIMIT = 300
LARGEST_LIMIT = 5000

_TOKEN = re.compile(
    r"""\s*(?:(?P<count>count\s*\(\s*\*\s*\))|(?P<word>[A-Za-z_][\w.]*)|(?P<number>-?\d+)"""
    r"""|(?P<text>"[^"]*"|'[^']*')|(?P<sign><=|>=|!=|<|>|=|,|\*))""",
    re.IGNORECASE,
)


class QueryError(Exception):
    """A query the partner would refuse, with its error code."""

    def __init__(self, details: str, code: int = 400006) -> None:
        super().__init__(details)
        self.details = details
        self.code = code


@dataclass(frozen=True)
class Query:
    """A query as read: `low_ms` included, `high_ms` excluded, None = open on that side."""

    fields: tuple[str, ...]
    low_ms: int | None = None
    high_ms: int | None = None
    order_by: str = "created"
    descending: bool = False
    start: int = 0
    limit: int = DEFAULT_LIMIT

    @property
    def is_count(self) -> bool:
        """Whether only the number is asked for."""
        return self.fields == (COUNT,)


class _Tokens:
    """The tokens of a query, taken one after the other."""

    def __init__(self, text: str) -> None:
        self.left = list(self._split(text))

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if not found or not found.lastgroup:
                raise QueryError(f"Syntax error near {text[place : place + 20]!r}")
            yield found.lastgroup, found.group(found.lastgroup)
            place = found.end()

    def keyword(self, *words: str) -> bool:
        """Take the keywords if they come next."""
        ahead = [text.upper() for kind, text in self.left[: len(words)] if kind == "word"]
        if ahead != list(words):
            return False
        del self.left[: len(words)]
        return True

    def take(self, kind: str, what: str) -> str:
        """Take the next token, which must be of this kind."""
        if not self.left or self.left[0][0] != kind:
            near = self.left[0][1] if self.left else "the end"
            raise QueryError(f"Expected {what} near {near!r}")
        return self.left.pop(0)[1]


@lru_cache(maxsize=2048)
def parse(text: str) -> Query:
    """Return a query as read. Raises QueryError with the code the partner answers."""
    tokens = _Tokens(text)
    if not tokens.keyword("SELECT"):
        raise QueryError("A query begins with SELECT")
    fields = _fields(tokens)
    if not tokens.keyword("FROM") or tokens.take("word", "a source") != "accounts":
        raise QueryError("Expected FROM accounts")
    low, high = _where(tokens) if tokens.keyword("WHERE") else (None, None)
    order_by, descending = _order(tokens) if tokens.keyword("ORDER", "BY") else ("created", False)
    start = int(tokens.take("number", "a number")) if tokens.keyword("START") else 0
    limit = int(tokens.take("number", "a number")) if tokens.keyword("LIMIT") else DEFAULT_LIMIT
    if tokens.left:
        raise QueryError(f"Unexpected or misplaced {tokens.left[0][1]!r}")
    if not 0 <= start <= LARGEST_LIMIT or limit < 0:
        raise QueryError("START or LIMIT out of range")
    limit = min(limit, LARGEST_LIMIT - start)
    return Query(fields, low, high, order_by, descending, start, limit)


def _fields(tokens: _Tokens) -> tuple[str, ...]:
    if tokens.left and tokens.left[0][0] == "count":
        tokens.left.pop(0)
        return (COUNT,)
    fields = [_field(tokens)]
    while tokens.left and tokens.left[0] == ("sign", ","):
        tokens.left.pop(0)
        fields.append(_field(tokens))
    return tuple(fields)


def _field(tokens: _Tokens) -> str:
    name = tokens.take("word", "a field")
    if name not in FIELDS:
        raise QueryError(f"Unknown field {name!r}; field names are case-sensitive")
    return name


def _order(tokens: _Tokens) -> tuple[str, bool]:
    field = _field(tokens)
    if field == "UID":
        raise QueryError("The stand-in orders by dates only", 400096)
    if tokens.keyword("DESC"):
        return field, True
    tokens.keyword("ASC")
    return field, False


def _where(tokens: _Tokens) -> tuple[int | None, int | None]:
    low: int | None = None
    high: int | None = None
    while True:
        bound_low, bound_high = _condition(tokens)
        if bound_low is not None:
            low = bound_low if low is None else max(low, bound_low)
        if bound_high is not None:
            high = bound_high if high is None else min(high, bound_high)
        if not tokens.keyword("AND"):
            return low, high


def _condition(tokens: _Tokens) -> tuple[int | None, int | None]:
    field = _field(tokens)
    if field not in {"created", "createdTimestamp"}:
        raise QueryError(f"The stand-in compares creation dates only, not {field}", 400096)
    sign = tokens.take("sign", "a comparison")
    moment, cut = _constant(tokens, field)
    # Accounts lie on whole milliseconds, so "before 0.0001 s past t" means "at t or before".
    after, upto = moment + 1, moment + cut
    bounds: dict[str, tuple[int | None, int | None]] = {
        "<": (None, upto),
        "<=": (None, after),
        ">": (after, None),
        ">=": (upto, None),
        "=": (moment, moment if cut else after),
    }
    if sign not in bounds:
        raise QueryError(f"The stand-in does not know {sign} on dates", 400096)
    return bounds[sign]


def _constant(tokens: _Tokens, field: str) -> tuple[int, bool]:
    kind = tokens.left[0][0] if tokens.left else "end"
    wanted = "text" if field == "created" else "number"
    if kind in {"text", "number"} and kind != wanted:
        raise QueryError(f"Type mismatch: {field} is compared with a {wanted}", 400020)
    constant = tokens.take(wanted, f"a {wanted}")
    if wanted == "number":
        return int(constant), False
    try:
        return parse_iso(constant[1:-1])
    except ValueError as error:
        raise QueryError(f"Invalid date: {error}") from error


def answer(query: Query, site: Site, store: Store) -> dict[str, object]:
    """Return the members of a successful search answer: results, objectsCount, totalCount."""
    low = 0 if query.low_ms is None else store.count_before(query.low_ms)
    high = store.total if query.high_ms is None else store.count_before(query.high_ms)
    total = max(0, high - low)
    if query.is_count:
        return {"results": [{COUNT: total}], "objectsCount": 1, "totalCount": total}
    first = low + query.start
    positions = range(first, min(first + query.limit, low + total))
    if query.descending:
        last = low + total - 1 - query.start
        positions = range(last, max(last - query.limit, low - 1), -1)
    if query.fields == ("created",):
        rows = _created_rows(positions, site, store)
    else:
        rows = [_row(query.fields, position, site, store) for position in positions]
    found: dict[str, object] = {"objectsCount": len(rows), "totalCount": total}
    if rows or not site.drops_results:
        found["results"] = rows
    return found


def _created_rows(positions: range, site: Site, store: Store) -> list[dict[str, object]]:
    rising = positions if positions.step > 0 else positions[::-1]
    moments = store.created_run(rising.start, rising.stop) if rising else []
    ordered = moments if positions.step > 0 else reversed(moments)
    return [{"created": iso(moment, site.digits)} for moment in ordered]


def _row(fields: tuple[str, ...], position: int, site: Site, store: Store) -> dict[str, object]:
    row: dict[str, object] = {}
    for field in fields:
        if field == "UID":
            row[field] = store.uid(position)
        elif field == "created":
            row[field] = iso(store.created_ms(position), site.digits)
        elif field == "createdTimestamp":
            row[field] = store.created_ms(position)
        elif site.logins == "yes":
            moment = store.login_ms(position)
            row[field] = iso(moment, site.digits) if field == "lastLogin" else moment
        elif site.logins == "sentinel":
            row[field] = NEVER if field == "lastLogin" else 0
    return row
