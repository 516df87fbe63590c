"""Connections that lay in the pool while Postgres ended them are noticed before they are used."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import DataError, OperationalError

from tests.faults.faults_helpers import Relay
from tests.soon import until
from webapp import databases
from webapp.accounts import Company
from webapp.lib import postgres


@pytest.fixture
def relay(database_url: str) -> Iterator[Relay]:
    """Return a way to this round's Postgres that can be cut."""
    url = make_url(database_url)
    if url.get_backend_name() != "postgresql":
        pytest.skip("this round is on SQLite")
    found = Relay(url.host or "127.0.0.1", url.port or 5432)
    yield found
    found.close()


@pytest.fixture
def engine(database_url: str, relay: Relay) -> Iterator[Engine]:
    url = make_url(database_url).set(host="127.0.0.1", port=relay.port)
    found = create_engine(url, **databases.engine_options(database_url))
    yield found
    found.dispose()


def backend(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def test_a_connection_is_used_again(engine: Engine) -> None:
    assert backend(engine) == backend(engine)


@pytest.mark.parametrize("ask_after_s", [30.0, 0.0])
def test_connections_that_the_server_has_ended_are_replaced(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch, ask_after_s: float
) -> None:
    monkeypatch.setattr(databases, "ASK_AFTER_S", ask_after_s)
    with engine.connect() as one, engine.connect() as other:
        ended = [c.execute(text("SELECT pg_backend_pid()")).scalar_one() for c in (one, other)]
    admin = make_url(database_url).set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(admin, autocommit=True) as connection:
        for pid in ended:
            # Waits until it is gone.
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert backend(engine) not in ended
    assert backend(engine) not in ended


def test_a_way_that_was_cut_is_gone_again_when_it_is_mended(engine: Engine, relay: Relay) -> None:
    before = backend(engine)
    relay.cut()
    relay.mend()
    assert backend(engine) != before


def test_a_server_that_hangs_is_noticed_and_not_asked_again_at_once(
    engine: Engine, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "REST_S", 60.0)
    backend(engine)
    relay.hang()
    began = time.monotonic()
    with pytest.raises(OperationalError, match="the server does not answer"):
        backend(engine)
    assert time.monotonic() - began < 30
    with pytest.raises(OperationalError, match="did not answer a moment ago"):
        backend(engine)
    relay.mend()
    postgres._silent_until.clear()
    backend(engine)


def test_a_statement_may_take_its_time_while_the_server_is_there(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "ASK_AFTER_S", 0.2)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT n, pg_sleep(0.3) FROM generate_series(1, 3) AS n"))
        assert [row.n for row in rows] == [1, 2, 3]
        with pytest.raises(DataError, match="division by zero"):
            connection.execute(text("SELECT 1 / (n - n) FROM (SELECT 1 AS n, pg_sleep(0.5)) AS s"))


def test_a_page_does_not_wait_for_long_for_what_a_worker_stores(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "LOCK_S", 0.2)
    options = databases.engine_options(database_url)
    worker, web = (create_engine(database_url, **options) for _ in range(2))
    databases.wait_briefly(web)
    company = insert(Company).values(id=str(uuid4()), name="Acme", name_key="acme")
    with worker.connect() as load, web.connect() as page:
        load.execute(company)
        with pytest.raises(OperationalError) as refused:
            page.execute(company)
    assert databases.trouble_of(refused.value) == databases.BUSY
    with web.begin() as page:
        page.execute(company)
        assert page.scalars(select(Company.name)).all() == ["Acme"]
    for engine in (worker, web):
        engine.dispose()


def test_what_a_killed_program_left_running_ends(
    engine: Engine, relay: Relay, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "GONE_AFTER_S", 0.1)
    connection = engine.connect()
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.pgconn.send_query(b"SELECT pg_sleep(600)")
    admin = make_url(database_url).set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(admin, autocommit=True) as beside:
        works = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        assert until(lambda: beside.execute(works, (pid,)).fetchall() == [("active",)])
        relay.cut()
        assert until(lambda: beside.execute(works, (pid,)).fetchall() == [])
    connection.invalidate()
    connection.close()


@pytest.mark.parametrize("waits", [1, 2])
def test_a_statement_that_is_taken_up_again_may_end_there(waits: int) -> None:
    """As COPY does, whose server was too busy to take more."""

    def statement() -> Generator[str, int, str]:
        for _ in range(waits):
            yield "waits"
        return "done"

    begun = statement()
    assert next(begun) == "waits"
    told = []
    again = postgres._goes_on(begun)
    with pytest.raises(StopIteration) as end:
        told.append(next(again))
        again.send(1)
    assert (told, end.value.value) == (["waits"] * (waits - 1), "done")


def test_a_connection_just_used_is_not_asked_whether_it_lives(engine: Engine) -> None:
    asked: list[str] = []
    backend(engine)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
    execute = driver.execute

    def noting(query: str) -> object:
        asked.append(query)
        return execute(query)

    driver.execute = noting  # type: ignore[method-assign,assignment]
    backend(engine)
    assert asked == []
    event.listen(engine, "checkin", lambda _connection, record: record.info.update(returned=-1e9))
    backend(engine)
    backend(engine)
    assert asked == ["SELECT 1"]
