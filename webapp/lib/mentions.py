"""Where an address stands in texts and documents of a table, and another one put in its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import JSON, ColumnElement, String, Table, Text, cast, false, or_, select, update
from sqlalchemy.orm import Session, scoped_session


def mentions(columns: Any, address: str) -> ColumnElement[bool]:
    """Return which rows have an address anywhere in these columns, as a part of a word, too."""
    found: list[ColumnElement[bool]] = [false()]
    for column in columns:
        if isinstance(column.type, String | JSON):
            for written in {address, json.dumps(address)[1:-1]}:
                found.append(cast(column, Text).icontains(written, autoescape=True))
    return or_(*found)


def replace_mentions(
    session: Session | scoped_session[Any],
    table: Table,
    columns: Any,
    address: str,
    instead: Callable[[str], str],
    *where: ColumnElement[bool],
) -> None:
    """Write another text where an address stands by itself, in any spelling; not committed.

    instead: the text in the place of a spelling, as Joann@example.com
    """
    whole = re.compile(rf"(?<![\w.+-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE)

    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return whole.sub(lambda found: instead(found[0]), value)
        if isinstance(value, list):
            return [changed(one) for one in value]
        if isinstance(value, dict):
            return {changed(name): changed(one) for name, one in value.items()}
        return value

    for column in columns:
        query = select(column, *table.primary_key).where(mentions([column], address), *where)
        for value, *key in session.execute(query).all():
            this = (one == part for one, part in zip(table.primary_key, key, strict=True))
            session.execute(update(table).where(*this).values({column: changed(value)}))
