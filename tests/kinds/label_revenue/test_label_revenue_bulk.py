"""The bulk path: what goes through unread is what the row reader reads, and nothing else."""

from __future__ import annotations

import re
import threading
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select

from tests.conftest import find_scope
from webapp.accounts import Scope
from webapp.extensions import db
from webapp.installation import keep_fact
from webapp.intake import Format, LoadRefused, detect
from webapp.kinds.label_revenue import bulk, loads
from webapp.kinds.label_revenue.facts import MonthFacts
from webapp.kinds.label_revenue.in_force import recount
from webapp.kinds.label_revenue.ledger import shared_partition, unit_of_work
from webapp.kinds.label_revenue.models import Stream
from webapp.kinds.label_revenue.periods import settings_for
from webapp.kinds.label_revenue.report.compute import listener_payout
from webapp.kinds.label_revenue.rows import FIELDS, Reader, stream_readers

READERS = stream_readers(date(1970, 1, 1))
HEAD = "date;user_id;region;track id;seconds"
COLUMNS = ("date", "user_id", "region", "track_id", "seconds")
WORDS = st.text(st.sampled_from("a1Z-_é;, \t\"'\\|="), max_size=4)
CELLS = st.tuples(
    st.sampled_from(["13/03/2025", "3/4/2025", "31/02/2025", "2025-03-13", "x", "13/03/225"]),
    st.sampled_from(["1", "007", "", "-1", "x", "9223372036854775808"]),
    WORDS,
    WORDS,
    st.sampled_from(["5", "-5", "+5", "5.0", "", "99999999999"]),
)


@settings(max_examples=200)
@given(st.lists(CELLS, min_size=1, max_size=4), st.sampled_from([";", ",", "\t"]))
@example([("13/03/2025", "1", "#N/A", "T", "5"), ("13/03/2025", "1", "", "#REF!", "5")], ";")
def test_plain_rows_are_rows_that_the_reader_takes_as_they_are(
    tmp_path_factory: Any, rows: Any, separator: str
) -> None:
    found = Format("utf-8", separator, COLUMNS, COLUMNS, date_order="dmy")
    body = "".join(separator.join(row) + "\n" for row in rows)
    if not bulk.row_pattern(found).fullmatch(body.encode()):
        return
    path = tmp_path_factory.mktemp("plain") / "s.csv"
    path.write_text(separator.join(COLUMNS) + "\n" + body, encoding="utf-8")
    problems: list[Any] = []
    read = [row for _, row in Reader("s.csv", path, problems.append).streams(found, READERS)]
    # Days that no month has are the database's to find.
    assert all(problem.column == "date" for problem in problems)
    assert len(read) + len(problems) == len(rows)
    for row in read:
        assert (str(row.user_id), row.region, row.track_id) in {
            (cells[1].lstrip("0") or "0", cells[2], cells[3]) for cells in rows
        }


def test_blocks_end_at_line_ends_and_keep_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    lines = [f"13/03/2025;{n};NL;T-{n};{n}" for n in range(120_000)]
    path.write_text("\n".join([HEAD, *lines]))
    found = detect(path, FIELDS["streams"])
    blocks = list(bulk.plain_blocks(path, found))
    assert len(blocks) > 2
    assert all(block.endswith(b"\n") for block in blocks if block)
    assert b"".join(blocks) == ("\n".join(lines) + "\n").encode()


LARGE_ROW = f"13/03/2025;{{}};{'N' * 100};{'T' * 100};10\n"
LARGE_ROWS = bulk.BULK_BYTES // len(LARGE_ROW) + 1000


def large(tmp_path: Path, extra: str = "") -> bytes:
    """Return a file just beyond the size from which a file goes through as it stands."""
    rows = "".join(LARGE_ROW.format(1000 + n % 7) for n in range(LARGE_ROWS))
    return (HEAD + "\n" + rows + extra).encode()


@pytest.fixture
def on_postgres(app: Flask) -> None:
    with app.app_context():
        if db.engine.dialect.name != "postgresql":
            pytest.skip("COPY is the bulk path of Postgres")


def streams(app: Flask) -> int:
    with app.app_context():
        return int(db.session.scalar(select(func.count()).select_from(Stream)) or 0)


@pytest.mark.usefixtures("on_postgres")
def test_a_large_file_has_a_partition_of_its_own_and_is_undone_with_it(
    app: Flask, scope: Scope, load_texts: Any, tmp_path: Path
) -> None:
    loaded = load_texts(streams=large(tmp_path))
    assert loaded.batch.own_partition
    assert streams(app) == loaded.batch.streams == LARGE_ROWS
    with app.app_context():
        assert recount(scope.company_id) == []
        loads.unload(scope.company_id, loaded.batch.id)
        assert recount(scope.company_id) == []
    assert streams(app) == 0


@pytest.mark.usefixtures("on_postgres")
@pytest.mark.parametrize(
    "bad", ["31/02/2025;1;NL;T;10", "13/03/2025;1;NL;T;ten", "13/03/2025;1;#N/A;T;1"]
)
def test_a_bad_row_in_a_large_file_is_found_and_nothing_stays(
    app: Flask, load_texts: Any, tmp_path: Path, bad: str
) -> None:
    with pytest.raises(LoadRefused) as refused:
        load_texts(streams=large(tmp_path, bad))
    assert refused.value.total == 1
    assert refused.value.problems[0].line == LARGE_ROWS + 2
    assert streams(app) == 0


@pytest.mark.usefixtures("on_postgres")
def test_a_day_that_is_not_kept_any_more_is_found_in_a_large_file(
    app: Flask, load_texts: Any, tmp_path: Path
) -> None:
    with app.app_context():
        keep_fact("kept label-revenue", "2025-03-01")
    with pytest.raises(LoadRefused, match="1 row cannot be used"):
        load_texts(streams=large(tmp_path, "28/02/2025;1;NL;T;10"))
    assert streams(app) == 0


@pytest.mark.usefixtures("on_postgres", "sample")
def test_shares_added_up_by_the_database_are_exactly_the_same(app: Flask, scope: Scope) -> None:
    month = date(2025, 3, 1)
    with app.app_context():
        facts = MonthFacts(scope.company_id, month, settings_for(scope.company_id, month))
        total, idle = facts.net_totals()
        exact = listener_payout(total, idle, facts.pairs)
        by_groups = listener_payout(total, idle, facts.pairs, groups=facts.groups, exact_up_to=-1)
    assert by_groups == exact
    assert sum(line.minor for line in exact.lines) == 4555


@pytest.mark.usefixtures("on_postgres")
def test_an_undo_waits_for_no_other_company(
    app: Flask, scope: Scope, load_texts: Any, tmp_path: Path
) -> None:
    other = find_scope(app, "stranger").company_id
    loaded = load_texts(streams=large(tmp_path))
    undone: list[str] = []

    def undo() -> None:
        with app.app_context():
            undone.append(loads.unload(scope.company_id, loaded.batch.id).id)

    with app.app_context():
        with unit_of_work(other) as work:
            # Another company is at its streams, as a load or an undo of its own is for minutes.
            number = shared_partition(work)
            work.connection.execute(select(Stream.id).where(Stream.partition_id == number))
            thread = threading.Thread(target=undo)
            thread.start()
            thread.join(30)
            assert undone == [loaded.batch.id]
            assert streams(app) == LARGE_ROWS
        # Its table goes as soon as nobody else is there.
        bulk.drop_given_up()
    assert streams(app) == 0


@pytest.mark.usefixtures("on_postgres")
def test_many_streams_said_again_are_found_by_going_through_both_loads_once(
    app: Flask, load_texts: Any
) -> None:
    """Postgres has not counted what a load wrote; it took 80,000 rows for one, and minutes."""
    lines = [f"{1 + n % 28:02}/03/2025;{n % 7};NL;T{n % 11};5000" for n in range(300)]
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if re.match(
            r"(INSERT|SELECT|CREATE TEMP).*FROM label_revenue_stream", statement, re.DOTALL
        ):
            rows = cursor.connection.execute(f"EXPLAIN {statement}", parameters)
            plans.append("\n".join([statement, *(row[0] for row in rows)]))

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", explain)
    first = load_texts(streams="\n".join([HEAD, *lines * 20]))
    again = load_texts(streams="\n".join([HEAD, *lines * 20, lines[0]]))
    assert (first.batch.streams, again.batch.streams, again.batch.repeated) == (6000, 1, 6000)
    with app.app_context():
        loads.unload(again.batch.company_id, first.batch.id)
        event.remove(db.engine, "before_cursor_execute", explain)
    assert streams(app) == 6001
    assert len(plans) > 5
    assert [plan for plan in plans if "Nested Loop" in plan] == []
