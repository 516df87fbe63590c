"""Connections that lay in the pool while Postgres ended them are noticed before they are used."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

from tests.faults.faults_helpers import Relay
from webapp import databases


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
