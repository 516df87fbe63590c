"""INSERT that says what to do about a row that stands already, for both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, scoped_session


def upsert(bind: Connection | Engine | Session | scoped_session[Any], table: Any) -> Any:
    """Return the dialect's INSERT into a table: it has `on_conflict_do_update` and `_do_nothing`.

    Send rows beside it (`execute(statement, rows)`); `values(list)` is several times slower.
    """
    if not isinstance(bind, Connection | Engine):
        bind = bind.get_bind()
    make = postgresql.insert if bind.dialect.name == "postgresql" else sqlite.insert
    return make(table)
