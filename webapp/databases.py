"""How connections to the database are made, tuned and looked at before they are used again.

And whether all migrations have been run on it, and what keeps it or Redis from working, in words.
"""

from __future__ import annotations

import select
import sqlite3
import time
from contextlib import closing
from functools import lru_cache
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from sqlalchemy import Dialect, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import (
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

# A line that was cut without a word is found out by asking, and by TCP in ten seconds.
ASK_AFTER_S = 30.0
AWAY = "The database is away for a moment. Nothing is lost; try again in a few seconds."
FULL = "The disk of the database is full: nothing can be stored until the operator makes room."
QUEUE_AWAY = "The job queue is away for a moment. Try again in a few seconds."
QUEUE_FULL = "The job queue accepts nothing more: its memory or its disk is full."
SPOILT = (
    "The database's file is damaged, or is no SQLite database: move it away, then put a backup "
    "back with `flask restore`."
)
READ_ONLY = "The database cannot be written: its file, its folder or the server is read-only."
BUSY = "Something that takes longer is being stored just now, a load say. Try again in a minute."
# How long a page waits for what another writes; SQLite's writers, of any process, the same.
LOCK_S = 10
# By the beginning of SQLite's name of an error, or of SQL's own code for it.
TROUBLES = {
    "SQLITE_BUSY": BUSY,
    "55P03": BUSY,
    "40P01": BUSY,
    "SQLITE_FULL": FULL,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_IOERR": "The disk of the database does not work: reading or writing it failed.",
    "SQLITE_CANTOPEN": "The database's file cannot be opened: is its folder there, and writable?",
    "SQLITE_CORRUPT": SPOILT,
    "SQLITE_NOTADB": SPOILT,
    "53100": FULL,
    "25006": READ_ONLY,
}
# Codes for a row that refers to none, and for one that is there already.
MEETINGS = {
    "23503",
    "23505",
    "SQLITE_CONSTRAINT_FOREIGNKEY",
    "SQLITE_CONSTRAINT_UNIQUE",
    "SQLITE_CONSTRAINT_PRIMARYKEY",
}
STARTING = "The database is starting or recovering. Nothing is lost; try again in a minute."
NO_ROOM = "The database accepts no more connections: the operator has to allow more of them."
REFUSED = "The database refuses this program: DATABASE_URL has a wrong name, user or password."
QUEUE_REFUSED = "The job queue refuses this program: REDIS_URL has a wrong user or password."
# By the words of a Postgres that lets nobody in; the driver does not hear its code for that.
REFUSALS = {
    "No space left on device": FULL,
    "Disk quota exceeded": FULL,
    "database system is starting up": STARTING,
    "not yet accepting connections": STARTING,
    "not accepting connections": STARTING,
    "in recovery mode": STARTING,
    "database system is shutting down": "The database is shutting down. Nothing is lost.",
    "too many clients": NO_ROOM,
    "too many connections": NO_ROOM,
    "remaining connection slots": NO_ROOM,
    "authentication failed": REFUSED,
    "no password supplied": REFUSED,
    "no pg_hba.conf entry": REFUSED,
    "does not exist": REFUSED,
}


def engine_options(database_url: str) -> dict[str, Any]:
    """Return how engines are made: values stay out of error texts, dead servers are noticed."""
    options: dict[str, Any] = {"hide_parameters": True, "pool_size": 10, "max_overflow": 20}
    if make_url(database_url).get_backend_name() == "postgresql":
        options["connect_args"] = {"connect_timeout": 3, "tcp_user_timeout": 10_000}
    return options


@event.listens_for(Engine, "connect")
def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Readers beside one writer, and a writer that waits its turn instead of failing."""
    if not isinstance(connection, sqlite3.Connection):
        return
    with closing(connection.cursor()) as cursor:
        pragmas = (
            "journal_mode=WAL",
            f"busy_timeout={LOCK_S * 1000:.0f}",
            "synchronous=NORMAL",
            "foreign_keys=ON",
        )
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
    connection.create_function("casefold", 1, _casefold, deterministic=True)


@event.listens_for(Engine, "do_connect")
def _connect_to_postgres(dialect: Dialect, _record: Any, _argv: Any, parameters: Any) -> Any:
    """Return a connection that notices a server which hangs; None, so that others go on."""
    if dialect.driver != "psycopg":
        return None
    # Here, so that who has SQLite need not load it.
    from webapp.lib.postgres import WatchfulConnection

    return WatchfulConnection.open(**parameters)


def wait_briefly(engine: Engine) -> None:
    """Let a server's statements give up waiting for a lock in seconds: who asked is a person.

    A worker waits as long as another one's load takes.
    """
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _limit_waiting)


def _limit_waiting(connection: Any, _record: Any) -> None:
    connection.execute(f"SET lock_timeout = {LOCK_S * 1000:.0f}")
    connection.commit()


def _casefold(value: object) -> str | None:
    """Return a value as text in which capital and small letters are the same, null for null."""
    return None if value is None else str(value).casefold()


@event.listens_for(Engine, "checkin")
def _note_return(_connection: Any, record: Any) -> None:
    record.info["returned"] = time.monotonic()


@event.listens_for(Engine, "checkout")
def _look_again(connection: Any, record: Any, _fairy: Any) -> None:
    """Let the pool begin anew when Postgres has ended the connection while it lay there.

    SQLAlchemy's own pre-ping asks the server each time, which is a fifth of what a small request
    costs. A server that ends a connection says so: there is something to read. Only where it is
    silent for long, or has something to say, it is asked.
    """
    if isinstance(connection, sqlite3.Connection) or "returned" not in record.info:
        return
    import psycopg

    # Whether the server has sent something that nobody asked for.
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    try:
        if poller.poll(0) or time.monotonic() - record.info["returned"] > ASK_AFTER_S:
            connection.execute("SELECT 1")
            connection.rollback()
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def trouble_of(error: Exception) -> str | None:
    """Return in words what keeps database or queue from working; None for a fault of ours."""
    if isinstance(error, RedisError):
        # Of several commands sent at once the driver says first which of them met it.
        words = str(error).rpartition(" caused error: ")[2]
        is_full = isinstance(error, OutOfMemoryError) or (
            isinstance(error, ResponseError) and words.startswith(("OOM", "MISCONF"))
        )
        is_refused = isinstance(error, AuthenticationError | NoPermissionError)
        return QUEUE_FULL if is_full else QUEUE_REFUSED if is_refused else QUEUE_AWAY
    code = _code_of(error)
    for beginning, sentence in TROUBLES.items():
        if code.startswith(beginning):
            return sentence
    # SQLite calls a wrong statement an operational error, too.
    if code != "SQLITE_ERROR" and isinstance(
        error, OperationalError | InterfaceError | PoolTimeout
    ):
        refusal = str(getattr(error, "orig", None)) if not code else ""
        return next((told for words, told in REFUSALS.items() if words in refusal), AWAY)
    return None


def _code_of(error: Exception) -> str:
    """Return the code that SQLite or Postgres gives an error, empty where there is none."""
    original = getattr(error, "orig", None) or error
    return getattr(original, "sqlite_errorname", None) or getattr(original, "sqlstate", None) or ""


def met_another(error: Exception) -> bool:
    """Say whether a change met another one: what it refers to went, or the same came, meanwhile.

    What two do in the same moment only the database sees.
    """
    return isinstance(error, IntegrityError) and _code_of(error) in MEETINGS


def reason_of(error: Exception) -> str:
    """Return what the log says of an error of database or queue: the words, and its type."""
    trouble, name = trouble_of(error), type(error).__name__
    return f"{trouble} ({name})" if trouble else name


def is_newest(engine: Engine, directory: str) -> bool:
    """Return whether every migration of a folder has been run on the database."""
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        present = set(MigrationContext.configure(connection).get_current_heads())
    return present == _newest_versions(directory)


@lru_cache(maxsize=4)
def _newest_versions(directory: str) -> frozenset[str]:
    """Return the newest versions the migrations know; they do not change while we run."""
    from alembic.script import ScriptDirectory

    return frozenset(ScriptDirectory(directory).get_heads())
