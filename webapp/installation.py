"""What the database knows of the installation as a whole: whose turn it is, and which key seals.

Two machines on one database need the same SECRET_KEY, else each cannot read what the other one
sealed. So a fingerprint of the key is kept, and a process that has another key ends at its start.
"""

from __future__ import annotations

import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import String, Update, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from webapp.config import BadSetting
from webapp.databases import trouble_of
from webapp.extensions import Model, UtcDateTime, db
from webapp.lib.moments import utcnow
from webapp.lib.upserts import upsert
from webapp.security import derived_key, secret_keys

log = logging.getLogger(__name__)

KEY = "secret key"
ASK_EVERY_S = 2.0


class InstallationFact(Model):
    """One thing all processes have to agree on; `at` is when it was last said."""

    __tablename__ = "installation_fact"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


def check_key(engine: Engine, key: str, previous: str = "") -> SQLAlchemyError | None:
    """End this process where the database knows another key; the first process tells it its own.

    A key that is the one before of a rotation gives way to the new one. A database that is away, or
    not up to date, cannot tell; what kept it from telling is returned.

    Raises: BadSetting
    """
    own, before = (_fingerprint(one) if one else "" for one in (key, previous))
    try:
        with engine.begin() as connection:
            _say_if_nobody_did(connection, KEY, own)
            query = select(InstallationFact.value).where(InstallationFact.name == KEY)
            known = connection.scalar(query)
            if known == before:
                connection.execute(_saying(KEY, value=own))
    except SQLAlchemyError as error:
        return error
    if known not in {own, before}:
        raise BadSetting(
            "SECRET_KEY",
            "is not the key this database was used with: all machines need the same one, and a "
            "rotation the one before in SECRET_KEY_PREVIOUS. If the old key is gone for good, run "
            "`flask secrets adopt`: what it sealed must be entered again",
        )
    return None


def wait_for_key(who: str) -> None:
    """Check the key as soon as the database can tell its own; say why `who` waits until then.

    Raises: BadSetting
    """
    while error := check_key(db.engine, *secret_keys()):
        reason = trouble_of(error) or "It is not up to date: run `flask db upgrade`."
        log.warning("the %s waits for the database: %s", who, reason)
        time.sleep(ASK_EVERY_S)


def adopt_key(key: str) -> None:
    """Let the database know this key from now on, whatever it knew before."""
    keep_fact(KEY, _fingerprint(key))


def keep_fact(name: str, value: str) -> None:
    """Let all processes know something from now on, whatever they knew before."""
    with db.engine.begin() as connection:
        _say_if_nobody_did(connection, name, value)
        connection.execute(_saying(name, value=value))


def find_fact(name: str) -> str | None:
    """Return what all processes know by a name; None where nobody said it."""
    query = select(InstallationFact.value).where(InstallationFact.name == name)
    return db.session.scalar(query)


def take_turn(name: str, who: str, turn: timedelta) -> bool:
    """Return whether it is this one's turn: its own still, or that of one silent for a turn."""
    is_mine = (InstallationFact.value == who) | (InstallationFact.at < utcnow() - turn)
    with db.engine.begin() as connection:
        if _say_if_nobody_did(connection, name, who):
            return True
        return connection.execute(_saying(name, value=who).where(is_mine)).rowcount == 1


def end_turn(name: str, who: str) -> None:
    """Let another one take its turn at once."""
    with db.engine.begin() as connection:
        ended = _saying(name, at=datetime.fromtimestamp(0, tz=UTC))
        connection.execute(ended.where(InstallationFact.value == who))


def silence_of(name: str) -> timedelta | None:
    """Return how long nobody has taken a turn; None where nobody ever did."""
    last = db.session.scalar(select(InstallationFact.at).where(InstallationFact.name == name))
    return utcnow() - last if last else None


def _fingerprint(key: str) -> str:
    return hashlib.sha256(derived_key(key, "installation")).hexdigest()


def _say_if_nobody_did(connection: Connection, name: str, value: str) -> bool:
    row = {"name": name, "value": value, "at": utcnow()}
    said = connection.execute(
        upsert(connection, InstallationFact.__table__).values(row).on_conflict_do_nothing()
    )
    return bool(said.rowcount == 1)


def _saying(name: str, **values: Any) -> Update:
    told = {"at": utcnow(), **values}
    return update(InstallationFact).where(InstallationFact.name == name).values(told)
