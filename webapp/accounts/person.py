"""One person in the whole installation: all that is kept about them, and forgetting it.

Rows of a person are found by what refers to their account, and by their address in any text, in
every table of every room and kind. Kinds that know people by other names listen to
`person_erasing` and `person_exporting`. Files are not looked into: uploads, files of reports,
backups.
"""

from __future__ import annotations

from typing import Any

from blinker import Namespace
from sqlalchemy import ColumnElement, Table, delete, false, or_, select, update

from webapp.accounts.audit_log import audit
from webapp.accounts.members import delete_user
from webapp.accounts.models import DELETED, ApiKey, AuditEntry, LoginSession, User
from webapp.extensions import Model, db
from webapp.lib.mentions import mentions, replace_mentions
from webapp.security import SEALED

# Sent with the user: receivers forget them within the transaction, or return rows by table.
person_erasing = Namespace().signal("person-erasing")
person_exporting = Namespace().signal("person-exporting")


def export_person(user: User) -> dict[str, list[dict[str, Any]]]:
    """Return all rows about a person by table, without secrets and without hashes of them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in Model.metadata.sorted_tables:
        shown = _open_columns(table)
        about = or_(_refers_to(table, user), mentions(shown, user.email))
        rows = [dict(row) for row in db.session.execute(select(*shown).where(about)).mappings()]
        if rows:
            found[table.name] = rows
    for _, more in person_exporting.send(user=user):
        found |= more
    return found


def erase_person(user: User) -> None:
    """Delete an account and take the address out of every text; what was made stays. Commits.

    Raises: Conflict for the last admin of a company that has other members
    """
    email = user.email
    person_erasing.send(user=user)
    delete_user(user)
    for key in (LoginSession.user_id, ApiKey.user_id):
        db.session.execute(delete(key.class_).where(key == user.id))
    theirs = update(AuditEntry).where(AuditEntry.user_id == user.id)
    db.session.execute(theirs.values(address=""))
    db.session.flush()

    def instead(spelling: str) -> str:
        # Spellings stay apart: as a part of a key, two of them are two rows.
        capitals = sum(1 << place for place, letter in enumerate(spelling) if letter.isupper())
        return f"{capitals:x}.{user.email}" if capitals else user.email

    for table in Model.metadata.sorted_tables:
        replace_mentions(db.session, table, _open_columns(table), email, instead)
    audit(None, "erased a person", company_id=user.home_company_id)
    db.session.commit()
    assert user.status == DELETED


def _refers_to(table: Table, user: User) -> ColumnElement[bool]:
    """Return which rows are the person's: by a key of their account, or of a row that has one."""
    if table is User.__table__:
        return table.c.id == user.id
    mine = []
    for column in table.c:
        for key in column.foreign_keys:
            owner = key.column.table
            if owner is User.__table__:
                mine.append(column == user.id)
            elif list(table.primary_key) == [column] and owner is not table:
                # One row beside another one, such as a report beside its job.
                mine.append(column.in_(select(key.column).where(_refers_to(owner, user))))
    return or_(*mine) if mine else false()


def _open_columns(table: Table) -> list[Any]:
    return [one for one in table.c if SEALED not in one.info and "hash" not in one.name]
