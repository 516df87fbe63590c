"""Streams into the database by its bulk path, in constant memory.

Postgres takes COPY. A large file that is written plainly goes through as it stands, a number put
before each line: each megabyte is matched against one pattern, which costs less than reading rows,
and the database does the rest. Whatever the pattern or the database refuses is read row by row
instead, which finds the bad rows.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError, OperationalError

from webapp.databases import reason_of
from webapp.engine.retention import kept_from
from webapp.extensions import db
from webapp.intake import Format, is_as_written
from webapp.kinds.label_revenue.ledger import SLUG, UnitOfWork, partition_table
from webapp.kinds.label_revenue.models import Batch, Stream
from webapp.kinds.label_revenue.rows import StreamRow
from webapp.lib.batches import batched

log = logging.getLogger(__name__)

BULK_BYTES = 16 * 1024 * 1024
READ_BYTES = 1024 * 1024
ROWS_PER_WRITE = 20_000
COPY_COLUMNS = "partition_id, batch_no, user_id, seconds, date, region, track_id, id"
_RAW_SEPARATORS = (";", ",", "\t")
_YEAR = rb"(?:19[7-9][0-9]|[2-8][0-9]{3})"
_DAY, _MONTH = rb"(?:0?[1-9]|[12][0-9]|3[01])", rb"(?:0?[1-9]|1[0-2])"
_DATES = {
    "dmy": rb"[/.\-]".join((_DAY, _MONTH, _YEAR)),
    "mdy": rb"[/.\-]".join((_MONTH, _DAY, _YEAR)),
    "ymd": _YEAR + rb"-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])",
}
# Spaces beyond ASCII, as the row reader trims and joins them.
WIDE_SPACE = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


class NotPlain(Exception):
    """The file cannot go through as it stands; its rows have to be read."""


def may_go_raw(found: Format, path: Path) -> bool:
    """Return whether a file is large and plain enough to be handed to the database as it is."""
    plain = found.encoding in {"utf-8", "utf-8-sig"} and is_as_written(found)
    return plain and found.separator in _RAW_SEPARATORS and path.stat().st_size >= BULK_BYTES


def copy_raw(
    work: UnitOfWork, path: Path, found: Format, batch: Batch, on_bytes: Callable[[int], None]
) -> int:
    """Copy a whole file into the batch's own partition; return the number of streams.

    The partition's table is made apart from the others, where nobody waits for it. Constant columns
    are defaults of it, so that COPY need not be told them in every row. Its indexes are built when
    its sums are added.

    Raises: NotPlain, with nothing left behind, where a row needs a closer look
    """
    # Here, so that who has SQLite need not load it.
    from psycopg import DataError

    table = partition_table(batch.partition_id or 0)
    order = {"dmy": "DMY", "mdy": "MDY"}.get(found.date_order or "", "YMD")
    savepoint = work.connection.begin_nested()
    try:
        work.execute(
            f"CREATE TABLE {table} (LIKE label_revenue_stream INCLUDING DEFAULTS)",
            f"ALTER TABLE {table} ALTER partition_id SET DEFAULT {batch.partition_id}, "
            f"ALTER batch_no SET DEFAULT {batch.no}",
            f"SET LOCAL datestyle TO 'ISO, {order}'",
        )
        count = _copy_file(work, path, found, table, on_bytes)
        work.execute(
            f"ALTER TABLE {table} ADD CHECK (partition_id = {batch.partition_id} "
            f"AND date >= '{kept_from(SLUG)}')",
            f"ALTER TABLE label_revenue_stream ATTACH PARTITION {table} "
            f"FOR VALUES IN ({batch.partition_id})",
        )
    except (NotPlain, DataError, IntegrityError) as error:
        savepoint.rollback()
        raise NotPlain(type(error).__name__) from error
    savepoint.commit()
    work.ledger.next_id += count
    return count


def _copy_file(
    work: UnitOfWork, path: Path, found: Format, table: str, on_bytes: Callable[[int], None]
) -> int:
    """Copy the blocks of a file with a number before each line; return how many lines there were.

    Counting here is cheaper than a sequence, and goes on beside the database's own work.
    """
    columns = ", ".join(str(name) for name in ("id", *found.columns))
    separator = found.separator.replace("\t", "\\t")
    # Nobody else sees the table before it is committed, so its rows may be born frozen.
    statement = (
        f"COPY {table} ({columns}) FROM STDIN "
        f"(FORMAT csv, DELIMITER E'{separator}', QUOTE E'\\x01', NULL E'\\x02', FREEZE)"
    )
    row = b"%d" + found.separator.encode() + b"%b\n"
    first = number = work.ledger.next_id
    with _cursor(work).copy(statement) as copy:
        for block in plain_blocks(path, found):
            lines = block.split(b"\n")[:-1]
            copy.write(b"".join([row % pair for pair in enumerate(lines, number)]))
            number += len(lines)
            on_bytes(len(block))
    return number - first


def plain_blocks(path: Path, found: Format) -> Iterator[bytes]:
    """Yield the rows of a plain file, some megabytes of whole lines at a time, each one checked.

    Raises: NotPlain at the first block that holds anything else
    """
    pattern = row_pattern(found)
    with path.open("rb") as file:
        file.readline()
        rest = b""
        while chunk := file.read(READ_BYTES):
            rest += chunk
            end = rest.rfind(b"\n") + 1
            block, rest = rest[:end], rest[end:]
            if not end and len(rest) > READ_BYTES:
                raise NotPlain("a line is very long")
            yield _checked(pattern, block)
        if rest:
            yield _checked(pattern, rest + b"\n")


def _checked(pattern: re.Pattern[bytes], block: bytes) -> bytes:
    if not pattern.fullmatch(block):
        raise NotPlain("a row is not plain")
    try:
        if not block.isascii() and WIDE_SPACE.search(block.decode("utf-8")):
            raise NotPlain("a cell holds a space that would be trimmed")
    except UnicodeDecodeError as error:
        raise NotPlain("a row is not UTF-8") from error
    return block


def row_pattern(found: Format) -> re.Pattern[bytes]:
    """Return the pattern that any number of plain rows match."""
    separator = found.separator.encode()
    # A separator inside a cell would shift the columns after it; `#N/A` is no text.
    printable = rb'[^\x00-\x20"\\\x7f%b]' % separator
    cells = {
        "date": _DATES[found.date_order or "ymd"],
        "user_id": rb"[0-9]{1,18}",
        "region": rb"(?!#)" + printable + rb"{0,100}",
        "track_id": rb"(?!#)" + printable + rb"{1,100}",
        "seconds": rb"-?[0-9]{1,9}",
    }
    row = re.escape(separator).join(cells[str(name)] for name in found.columns)
    # Possessive: a row that does not match is found at once, not after trying all splits.
    return re.compile(rb"(?:" + row + rb"\r?\n)*+")


def write_rows(work: UnitOfWork, rows: Iterable[StreamRow], batch: Batch) -> int:
    """Write streams read row by row into the batch's partition; return how many."""
    count = 0
    for chunk in batched(rows, ROWS_PER_WRITE):
        numbered = enumerate(chunk, work.ledger.next_id)
        if work.is_postgres:
            _copy_rows(work, numbered, batch)
        else:
            owner = {"partition_id": batch.partition_id, "batch_no": batch.no}
            stored = [owner | {"id": number} | row._asdict() for number, row in numbered]
            work.connection.execute(insert(Stream), stored)
        work.ledger.next_id += len(chunk)
        count += len(chunk)
    return count


def _copy_rows(work: UnitOfWork, rows: Iterable[tuple[int, StreamRow]], batch: Batch) -> None:
    statement = f"COPY label_revenue_stream ({COPY_COLUMNS}) FROM STDIN"
    with _cursor(work).copy(statement) as copy:
        for number, row in rows:
            texts = [one.replace("\\", "\\\\") for one in (row.region, row.track_id)]
            copy.write(
                f"{batch.partition_id}\t{batch.no}\t{row.user_id}\t{row.seconds}\t{row.date}\t"
                f"{texts[0]}\t{texts[1]}\t{number}\n"
            )


def _cursor(work: UnitOfWork) -> Any:
    """Return a cursor of the driver, inside the transaction that is open."""
    raw: Any = work.connection.connection.driver_connection
    return raw.cursor()


_GIVEN_UP = text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
    "WHERE inhparent = 'label_revenue_stream'::regclass AND NOT EXISTS (SELECT 1 FROM "
    "label_revenue_shelf WHERE 'label_revenue_stream_' || id = relname)"
)


def drop_given_up() -> None:
    """Drop the tables of partitions that nobody names any more. Commits.

    That needs the table of all companies' streams for itself. In the transaction of an undo it
    would keep everybody out while one of them is busy, and two undos would wait for each other. So
    a table that cannot be had in a second waits for the next undo, or the night.
    """
    if db.engine.dialect.name != "postgresql":
        return
    with db.engine.connect() as connection:
        tables = connection.scalars(_GIVEN_UP).all()
    for table in tables:
        try:
            with db.engine.begin() as connection:
                connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        except OperationalError as error:
            log.info("%s is dropped later: %s", table, reason_of(error))
            return
