"""Where an address stands in texts and documents of a table, and another one put in its place."""

from __future__ import annotations

import json
import re
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
    instead: str,
    *where: ColumnElement[bool],
) -> None:
    """Write a text in the place of an address, wherever that stands by itself; not committed."""
    whole = re.compile(rf"(?<![\w.+-]){re.escape(address)}(?![\w-]|\.\w)", re.IGNORECASE)
    for column in columns:
        query = select(column, *table.primary_key).where(mentions([column], address), *where)
        for value, *key in session.execute(query).all():
            is_text = isinstance(value, str)
            written = value if is_text else json.dumps(value, ensure_ascii=False)
            changed = whole.sub(instead, written)
            this = (one == part for one, part in zip(table.primary_key, key, strict=True))
            new = {column: changed if is_text else json.loads(changed)}
            session.execute(update(table).where(*this).values(new))
