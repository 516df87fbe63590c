"""Pages by key: each row once, in order, and no link to an empty page."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select

from webapp.lib.keyset import cut, one_page

ROWS = [("a", 1), ("a", 2), ("b", 1), ("b", 3), ("c", 2), ("c", 9)]
TABLE = Table("thing", MetaData(), Column("name", String), Column("number", Integer))


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_hold_each_row_once_in_order(limit: int, newest_first: bool) -> None:
    engine = create_engine("sqlite://")
    seen: list[tuple[str, int]] = []
    pages = 0
    with engine.begin() as connection:
        TABLE.metadata.create_all(connection)
        connection.execute(TABLE.insert(), [{"name": n, "number": i} for n, i in ROWS])
        after, more = None, True
        while more:
            keys = (TABLE.c.name, TABLE.c.number)
            query = one_page(select(*keys), keys, after, limit, newest_first=newest_first)
            rows, more = cut(connection.execute(query).all(), limit)
            assert 0 < len(rows) <= limit
            seen += [(row.name, row.number) for row in rows]
            after, pages = rows[-1], pages + 1
    engine.dispose()
    assert seen == sorted(ROWS, reverse=newest_first)
    assert pages == -(-len(ROWS) // limit)
