"""Lists a page at a time, by key (keyset pagination).

A page ends at a row, not at a number: what is added meanwhile neither repeats nor hides a row, and
the last page costs as little as the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select, tuple_

Row = TypeVar("Row")
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])


def one_page(
    query: Query,
    keys: Sequence[Any],
    after: Sequence[Any] | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> Query:
    """Return the query of one page, with one row more, which tells whether another page follows.

    keys:  columns that name a row, in the order of the list
    after: their values in the last row of the page before; None for the first page
    """
    if after is not None:
        place = tuple_(*keys)
        query = query.where(place < tuple(after) if newest_first else place > tuple(after))
    return query.order_by(*(key.desc() if newest_first else key for key in keys)).limit(limit + 1)


def cut(rows: Sequence[Row], limit: int) -> tuple[list[Row], bool]:
    """Return the rows of the page, and whether another page follows it."""
    return list(rows[:limit]), len(rows) > limit
