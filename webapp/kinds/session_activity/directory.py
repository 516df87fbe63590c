"""The logins and computers of a company: added by name, found by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unicodedata import category

from sqlalchemy import Connection, select

from webapp.extensions import db
from webapp.kinds.session_activity.models import Computer, Login
from webapp.lib.moments import utcnow
from webapp.lib.texts import storable
from webapp.lib.upserts import upsert

Table = type[Login] | type[Computer]
# Control characters, and separators of lines and paragraphs.
UNWRITABLE = {"Cc", "Zl", "Zp"}


def is_writable(text: str) -> bool:
    """Say whether a text may be a name: one line that databases take.

    Spaces that do not break and marks between letters are parts of real names.
    """
    return storable(text) and not any(category(letter) in UNWRITABLE for letter in text)


def add_names(table: Table, company_id: str, names: Iterable[str]) -> None:
    """Store names that are not known yet; known ones are no error."""
    more: dict[str, Any] = {"longest_days": 1} if table is Login else {}
    more |= {"company_id": company_id, "created_at": utcnow()}
    rows = [{"name": name, **more} for name in dict.fromkeys(names)]
    if rows:
        with db.engine.begin() as connection:
            statement = upsert(connection, table)
            names_known = ["company_id", "name"]
            connection.execute(statement.on_conflict_do_nothing(index_elements=names_known), rows)


def find_id(connection: Connection, table: Table, company_id: str, name: str) -> int | None:
    """Return the number behind a name of the company, None for an unknown one."""
    return connection.scalar(
        select(table.id).where(table.company_id == company_id, table.name == name)
    )


def find_login(company_id: str, name: str) -> Login | None:
    """Return a login of the company by its name."""
    return db.session.scalar(
        select(Login).where(Login.company_id == company_id, Login.name == name)
    )


def login_names(company_id: str, limit: int) -> list[str]:
    """Return the first names of logins, in order, for a list to choose from."""
    query = select(Login.name).where(Login.company_id == company_id)
    return list(db.session.scalars(query.order_by(Login.name).limit(limit)))
