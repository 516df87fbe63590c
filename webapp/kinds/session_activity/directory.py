"""The logins and computers of a company: added by name, found by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unicodedata import category

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from webapp.extensions import db
from webapp.kinds.session_activity.models import Computer, Login
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable

NAMES_PER_QUERY = 500
# Control characters, and separators of lines and paragraphs.
UNWRITABLE = {"Cc", "Zl", "Zp"}


def is_writable(text: str) -> bool:
    """Say whether a text may be a name: one line that databases take.

    Spaces that do not break and marks between letters are parts of real names.
    """
    return storable(text) and not any(category(letter) in UNWRITABLE for letter in text)


def add_names(table: type[Login] | type[Computer], company_id: str, names: Iterable[str]) -> None:
    """Store names that are not known yet; known ones are no error."""
    now = utcnow()
    rows = [
        {"company_id": company_id, "name": name, "created_at": now, **_defaults(table)}
        for name in dict.fromkeys(names)
    ]
    if not rows:
        return
    with db.engine.begin() as connection:
        maker: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        statement = maker(table).on_conflict_do_nothing(index_elements=["company_id", "name"])
        connection.execute(statement, rows)


def _defaults(table: type[Login] | type[Computer]) -> dict[str, Any]:
    return {"longest_days": 1} if table is Login else {}


def find_id(
    connection: Connection,
    table: type[Login] | type[Computer],
    company_id: str,
    name: str,
    *,
    lock: bool = False,
) -> int | None:
    """Return the number behind a name of the company, None for an unknown one; locked on demand."""
    query = select(table.id).where(table.company_id == company_id, table.name == name)
    return connection.scalar(query.with_for_update() if lock else query)


def find_login(company_id: str, name: str) -> Login | None:
    """Return a login of the company by its name."""
    return db.session.scalar(
        select(Login).where(Login.company_id == company_id, Login.name == name)
    )


def names_like(company_id: str, text: str, limit: int) -> list[str]:
    """Return names of logins that contain a text, in order, for a list to choose from."""
    query = select(Login.name).where(Login.company_id == company_id)
    if text:
        query = query.where(Login.name.contains(text, autoescape=True))
    return list(db.session.scalars(query.order_by(Login.name).limit(limit)))
