"""Lists a page at a time, by key (keyset pagination).

A page ends at a row, not at a number: what is added meanwhile neither repeats nor hides a row, and
the last page costs as little as the first.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_

from webapp.errors import InvalidParams

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


def place(at: datetime, row_id: str) -> str:
    """Return the opaque text that names the place right after a row of a list by moment and id."""
    text = f"{at.astimezone(UTC).isoformat()} {row_id}"
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def read_place(cursor: str) -> tuple[datetime, str]:
    """Return the moment and id that a text of `place` names; raises InvalidParams."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, _, row_id = base64.urlsafe_b64decode(padded).decode("ascii").partition(" ")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        return at.astimezone(UTC), str(UUID(row_id))
    except (ValueError, binascii.Error, OverflowError):
        raise InvalidParams(
            {"cursor": "This is not a place in the list; take the cursor from a page of it."}
        ) from None
