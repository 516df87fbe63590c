"""Streams into the database by its bulk path, in constant memory.

Postgres takes COPY. A large file that is written plainly goes through as it stands, a number put
before each line: each megabyte is matched against one pattern, which costs less than reading rows,
and the database does the rest. Whatever the pattern or the database refuses is read row by row
instead, which finds the bad rows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from psycopg import DataError
from sqlalchemy import insert, text

from webapp.intake import Format, Told, is_as_written, read_date
from webapp.kinds.label_revenue.ledger import UnitOfWork
from webapp.kinds.label_revenue.models import Batch, Stream
from webapp.kinds.label_revenue.partitions import partition_table
from webapp.kinds.label_revenue.reading import chunks
from webapp.kinds.label_revenue.rows import StreamRow

BULK_BYTES = 16 * 1024 * 1024
READ_BYTES = 1024 * 1024
ROWS_PER_WRITE = 5000
COPY_COLUMNS = "partition_id, batch_no, user_id, seconds, date, region, track_id"
# What the row reader takes too, minus what it has to think about: quotes, spaces, backslashes.
_CELLS = {
    "user_id": rb"[0-9]{1,18}",
    "region": rb"[!#-\[\]-~\x80-\xff]{0,100}",
    "track_id": rb"[!#-\[\]-~\x80-\xff]{1,100}",
    "seconds": rb"-?[0-9]{1,9}",
}
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


def count_plain(path: Path, found: Format, told: Told) -> int | None:
    """Return how many streams a large file holds, where each of its rows can be used; else None.

    Ten times as fast as reading the rows; what it cannot vouch for has to be read.
    """
    if not may_go_raw(found, path):
        return None
    other = re.escape(found.separator.encode())
    before = rb"[^%b\n]*%b" % (other, other) * found.columns.index("date")
    day_of = re.compile(rb"^" + before + rb"([^%b\n]+)" % other, re.MULTILINE)
    days: set[bytes] = set()
    count, done, size = 0, 0, path.stat().st_size
    try:
        for block in plain_blocks(path, found):
            days.update(day_of.findall(block))
            count, done = count + block.count(b"\n"), done + len(block)
            told(done, size)
        for day in days:
            read_date(day.decode(), found.date_order)
    except (NotPlain, ValueError):
        return None
    return count


def copy_raw(
    work: UnitOfWork,
    path: Path,
    found: Format,
    batch: Batch,
    on_bytes: Callable[[int], None],
) -> int:
    """Copy a whole file into the batch's own partition; return the number of streams.

    Raises: NotPlain, with nothing left behind, where a row needs a closer look
    """
    connection = work.connection
    table = partition_table(batch.partition_id or 0)
    savepoint = connection.begin_nested()
    try:
        _new_partition_table(work, table, batch)
        order = {"dmy": "DMY", "mdy": "MDY"}.get(found.date_order or "", "YMD")
        connection.execute(text(f"SET LOCAL datestyle TO 'ISO, {order}'"))
        first = work.ledger.next_id
        count = _copy_file(_cursor(work), path, found, table, first, on_bytes)
        _attach(work, table, batch)
    except (NotPlain, DataError) as error:
        savepoint.rollback()
        raise NotPlain(type(error).__name__) from error
    savepoint.commit()
    work.ledger.next_id = first + count
    return count


def _copy_file(
    cursor: Any,
    path: Path,
    found: Format,
    table: str,
    first_id: int,
    on_bytes: Callable[[int], None],
) -> int:
    columns = ", ".join(str(name) for name in ("id", *found.columns))
    separator = found.separator.replace("\t", "\\t")
    # Nobody else sees the table before it is committed, so its rows may be born frozen.
    statement = (
        f"COPY {table} ({columns}) FROM STDIN "
        f"(FORMAT csv, DELIMITER E'{separator}', QUOTE E'\\x01', NULL E'\\x02', FREEZE)"
    )
    number = first_id
    with cursor.copy(statement) as copy:
        for block in plain_blocks(path, found):
            lines = block.split(b"\n")
            lines.pop()
            copy.write(_numbered(lines, number, found.separator.encode()))
            number += len(lines)
            on_bytes(len(block))
    return number - first_id


def _numbered(lines: list[bytes], first: int, separator: bytes) -> bytes:
    """Return lines with a number before each.

    Counting here is cheaper than a sequence, and goes on beside the database's own work.
    """
    row = b"%d" + separator + b"%b\n"
    return b"".join([row % pair for pair in enumerate(lines, first)])


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
    if not block.isascii():
        try:
            text = codecs.decode(block, "utf-8")
        except UnicodeDecodeError as error:
            raise NotPlain("a row is not UTF-8") from error
        if WIDE_SPACE.search(text):
            raise NotPlain("a cell holds a space that would be trimmed")
    return block


def row_pattern(found: Format) -> re.Pattern[bytes]:
    """Return the pattern that any number of plain rows match."""
    separator = re.escape(found.separator.encode())
    cells = []
    for name in found.columns:
        cell = _DATES[found.date_order or "ymd"] if name == "date" else _CELLS[str(name)]
        # A separator inside a cell would shift the columns after it.
        cells.append(cell.replace(b"!#-", _printable_but(found.separator)))
    # Possessive: a row that does not match is found at once, not after trying all splits.
    return re.compile(rb"(?:" + separator.join(cells) + rb"\r?\n)*+")


def _printable_but(separator: str) -> bytes:
    """Return the start of the class of printable bytes without the separator."""
    if separator == ";":
        return rb"!#-:<-"
    if separator == ",":
        return rb"!#-+\--"
    return rb"!#-"


def _new_partition_table(work: UnitOfWork, table: str, batch: Batch) -> None:
    """Make the partition's table apart from the others, where nobody waits for it.

    Constant columns are defaults of the table, so that COPY need not be told them in every row.
    """
    for statement in (
        f"CREATE TABLE {table} (LIKE label_revenue_stream INCLUDING DEFAULTS)",
        f"ALTER TABLE {table} ALTER partition_id SET DEFAULT {batch.partition_id}, "
        f"ALTER batch_no SET DEFAULT {batch.no}",
    ):
        work.connection.execute(text(statement))


def _attach(work: UnitOfWork, table: str, batch: Batch) -> None:
    """Make the table part of the streams; its indexes are built when its sums are added."""
    for statement in (
        f"ALTER TABLE {table} ADD CHECK (partition_id = {batch.partition_id})",
        f"ALTER TABLE label_revenue_stream ATTACH PARTITION {table} "
        f"FOR VALUES IN ({batch.partition_id})",
    ):
        work.connection.execute(text(statement))


def write_rows(work: UnitOfWork, rows: Iterable[StreamRow], batch: Batch) -> int:
    """Write streams read row by row into the batch's partition; return how many."""
    if work.is_postgres:
        return _copy_rows(work, rows, batch)
    count = 0
    owner = {"partition_id": batch.partition_id, "batch_no": batch.no}
    for chunk in chunks(rows, ROWS_PER_WRITE):
        first = work.ledger.next_id
        work.connection.execute(
            insert(Stream),
            [owner | {"id": first + place} | row._asdict() for place, row in enumerate(chunk)],
        )
        work.ledger.next_id = first + len(chunk)
        count += len(chunk)
    return count


def _copy_rows(work: UnitOfWork, rows: Iterable[StreamRow], batch: Batch) -> int:
    statement = f"COPY label_revenue_stream ({COPY_COLUMNS}, id) FROM STDIN"
    cursor = _cursor(work)
    count = 0
    for chunk in chunks(rows, ROWS_PER_WRITE * 10):
        first = work.ledger.next_id
        with cursor.copy(statement) as copy:
            for number, row in enumerate(chunk, first):
                copy.write(
                    f"{batch.partition_id}\t{batch.no}\t{row.user_id}\t{row.seconds}\t{row.date}\t"
                    f"{_escaped(row.region)}\t{_escaped(row.track_id)}\t{number}\n"
                )
        work.ledger.next_id = first + len(chunk)
        count += len(chunk)
    return count


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\") if "\\" in value else value


def _cursor(work: UnitOfWork) -> Any:
    """Return a cursor of the driver, inside the transaction that is open."""
    raw: Any = work.connection.connection.driver_connection
    return raw.cursor()
