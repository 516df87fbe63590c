"""The whole database into a file and back, for both databases, without tools of theirs.

Of SQLite the file is a copy made by its own means, while all runs. Of Postgres it is a zip of
what `COPY` gives of each table, all of one moment. Back again means: what is there goes first, then
the tables of that version are made, filled, and brought up to date.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import current_app
from flask_migrate import upgrade
from sqlalchemy import Connection, Integer, MetaData, text

from webapp.errors import Conflict, InvalidParams
from webapp.extensions import MIGRATIONS, db
from webapp.ops.launcher import folder_lock

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20
# How long a connection that was closed may still be seen (seconds).
LEAVING_S = 3.0
NOTHING = (
    "This database is empty, or only half made: nothing was backed up. Do DATABASE_URL and "
    "DATA_DIR name the one that the site uses?"
)
DAMAGED = "{} is damaged: the database is left as it is. Take another backup."
# Made as they are needed, by no migration.
_PARTITIONS = text("""
    SELECT child.relname, parent.relname, pg_get_expr(child.relpartbound, child.oid)
    FROM pg_inherits
    JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
    WHERE child.relispartition AND child.relkind = 'r'
      AND child.relnamespace = current_schema()::regnamespace ORDER BY child.relname
""")


def back_up(path: Path) -> None:
    """Write the database of this moment to a new file that its owner alone may read.

    Raises: InvalidParams where the file is there already, or its folder is not; Conflict where the
    database has no version, so that nothing could be made of the backup
    """
    if not path.parent.is_dir():
        raise InvalidParams({"file": f"There is no folder {path.parent}."})
    if path.exists():
        raise InvalidParams({"file": f"{path} is there already; name another file."})
    with db.engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() is None:
            raise Conflict(NOTHING)
    part = path.with_name(f".{path.name}.part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        if _is_sqlite():
            with (
                closing(sqlite3.connect(_sqlite_file())) as live,
                closing(sqlite3.connect(part)) as copy,
            ):
                live.backup(copy)
        else:
            _copy_out(part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def restore(path: Path, name: str) -> None:
    """Put a backup in the place of everything the database holds, and bring it up to date.

    name: what its reader calls the file
    Raises: InvalidParams for a file that is damaged, no backup of this database, or a newer one's;
    Conflict while other processes use the database
    """
    if not path.is_file():
        raise InvalidParams({"file": f"There is no file {name}."})
    if _is_sqlite():
        with folder_lock(Path(current_app.config["DATA_DIR"])):
            _restore_sqlite(path, name)
    else:
        _restore_postgres(path, name)
    db.engine.dispose()
    upgrade(revision="heads")


def _is_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"


def _sqlite_file() -> str:
    return db.engine.url.database or ""


def _check_revision(revision: str | None) -> str:
    """Return the version a backup is of; raises InvalidParams where this program has none such."""
    try:
        if revision and ScriptDirectory(MIGRATIONS).get_revision(revision):
            return revision
    except CommandError:
        pass
    raise InvalidParams(
        {"file": f"The backup is of version {revision}, which this program does not know."}
    )


def _restore_sqlite(path: Path, name: str) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as kept:
        try:
            _check_revision(*kept.execute("SELECT version_num FROM alembic_version").fetchone())
            is_whole = kept.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
        except (sqlite3.DatabaseError, TypeError):
            raise InvalidParams({"file": f"{name} is no backup of a SQLite database."}) from None
        if not is_whole:
            raise InvalidParams({"file": DAMAGED.format(name)})
        with closing(sqlite3.connect(_sqlite_file(), timeout=5)) as live:
            kept.backup(live)


def _copy_out(path: Path) -> None:
    with _snapshot() as connection, ZipFile(path, "w", ZIP_DEFLATED) as archive:
        cursor = connection.connection.cursor()
        present = MetaData()
        present.reflect(connection)
        partitions = [list(found) for found in connection.execute(_PARTITIONS)]
        not_of_its_own = {"alembic_version", *(name for name, _, _ in partitions)}
        columns = {}
        for table in present.sorted_tables:
            if table.name in not_of_its_own:
                continue
            columns[table.name] = [column.name for column in table.columns]
            rows_of = f"SELECT {_listed(columns[table.name])} FROM {_quoted(table.name)}"  # noqa: S608
            copy = f"COPY ({rows_of}) TO STDOUT (FORMAT binary)"
            with archive.open(table.name, "w", force_zip64=True) as file, cursor.copy(copy) as rows:
                for chunk in rows:
                    file.write(chunk)
        revision = MigrationContext.configure(connection).get_current_revision()
        manifest = {"revision": revision, "tables": columns, "partitions": partitions}
        archive.writestr(MANIFEST, json.dumps(manifest))


@contextmanager
def _snapshot() -> Iterator[Connection]:
    engine = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        yield connection


def _restore_postgres(path: Path, name: str) -> None:
    try:
        with ZipFile(path) as archive:
            manifest = json.loads(archive.read(MANIFEST))
            revision = _check_revision(manifest["revision"])
            if not _is_whole(archive):
                raise InvalidParams({"file": DAMAGED.format(name)})
            _drop_everything()
            upgrade(revision=revision)
            _copy_in(archive, manifest["tables"], manifest["partitions"])
    except (BadZipFile, KeyError, ValueError):
        raise InvalidParams({"file": f"{name} is no backup of a Postgres database."}) from None


def _is_whole(archive: ZipFile) -> bool:
    try:
        return archive.testzip() is None
    except zlib.error:
        return False


def _drop_everything() -> None:
    db.session.remove()
    db.engine.dispose()
    # Who has just left is still seen for a moment.
    deadline = time.monotonic() + LEAVING_S
    while _is_in_use():
        if time.monotonic() > deadline:
            raise Conflict("The database is in use: stop web, workers and janitor first.")
        time.sleep(0.1)
    with db.engine.begin() as connection:
        present = MetaData()
        present.reflect(connection)
        for name in present.tables:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_quoted(name)} CASCADE")


def _is_in_use() -> bool:
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with db.engine.begin() as connection:
        return bool(connection.scalar(others))


def _copy_in(archive: ZipFile, columns: dict[str, list[str]], partitions: list[list[str]]) -> None:
    """Fill the tables, those that others refer to first, and let numbers go on after the last."""
    with db.engine.begin() as connection:
        cursor = connection.connection.cursor()
        present = MetaData()
        present.reflect(connection)
        for name, parent, bound in partitions:
            connection.exec_driver_sql(
                f"CREATE TABLE {_quoted(name)} PARTITION OF {_quoted(parent)} {bound}"
            )
        tables = [table for table in present.sorted_tables if table.name in columns]
        for table in reversed(tables):
            # Migrations may have put rows there that the backup has, too.
            connection.execute(table.delete())
        for table in tables:
            into = f"{_quoted(table.name)} ({_listed(columns[table.name])})"
            copy = f"COPY {into} FROM STDIN (FORMAT binary)"
            with archive.open(table.name) as file, cursor.copy(copy) as rows:
                while chunk := file.read(CHUNK_BYTES):
                    rows.write(chunk)
            for column in table.primary_key.columns:
                if isinstance(column.type, Integer):
                    _continue_numbers(connection, table.name, column.name)


def _continue_numbers(connection: Connection, table: str, column: str) -> None:
    find = text("SELECT pg_get_serial_sequence(:table, :column)")
    sequence = connection.scalar(find, {"table": table, "column": column})
    if sequence:
        last = f'SELECT setval(:sequence, max("{column}")) FROM "{table}"'  # noqa: S608 (our names)
        connection.execute(text(last), {"sequence": sequence})


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _listed(names: list[str]) -> str:
    return ", ".join(_quoted(name) for name in names)
