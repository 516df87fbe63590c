"""What browsers, programs and scrapers are told while the database, its disk or Redis is away."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis.exceptions import AuthenticationError, ResponseError
from sqlalchemy import Connection, event, select, update
from sqlalchemy.exc import InternalError, OperationalError

from tests.conftest import SERVERS, Api
from webapp.accounts.models import ApiKey, LoginSession
from webapp.databases import trouble_of
from webapp.extensions import db
from webapp.lib.moments import utcnow

NOWHERE = "redis://127.0.0.1:1/0"
# What is answered by a process that has neither a database nor Redis.
OPEN = {"/healthz", "/readyz", "/api/openapi.json"}
# What people read of the API, who are told of it in pages.
PAGES_OF_THE_API = {"/api/docs", "/api/errors", "/api/errors/unavailable"}
# What Postgres answers who wants to connect, and what is said of it. The driver has no code there.
LET_IN_BY_NOBODY = {
    "could not write to file: No space left on device": "disk of the database is full",
    "the database system is starting up": "starting or recovering",
    "the database system is in recovery mode": "starting or recovering",
    "the database system is shutting down": "is shutting down",
    "sorry, too many clients already": "no more connections",
    'password authentication failed for user "reports"': "refuses this program: DATABASE_URL",
    'database "reports" does not exist': "refuses this program: DATABASE_URL",
}


def not_let_in(words: str) -> OperationalError:
    said = f'connection to server at "10.0.0.5", port 5432 failed: FATAL:  {words}'
    return OperationalError("", {}, psycopg.OperationalError(said))


@pytest.fixture
def browser_without_database(
    make_app: Callable[..., Flask], app: Flask, client_for: Callable[[str], FlaskClient]
) -> FlaskClient:
    """Return the browser of a signed-in operator whose web process lost database and Redis."""
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = client_for("operator").get_cookie(name)
    assert cookie is not None
    alone = make_app(DATABASE_URL="sqlite:////nowhere/at/all.sqlite3", REDIS_URL=NOWHERE)
    browser = alone.test_client()
    browser.set_cookie(name, cookie.value)
    return browser


def plain_addresses(app: Flask) -> list[str]:
    """Return every address that is read and has no variable part."""
    rules = app.url_map.iter_rules()
    return sorted(
        {rule.rule for rule in rules if "GET" in (rule.methods or ()) and not rule.arguments}
    )


def test_without_a_database_every_page_is_a_503_in_our_dress(
    browser_without_database: FlaskClient,
) -> None:
    addresses = plain_addresses(browser_without_database.application)
    assert {"/", "/months", "/metrics"} <= set(addresses)
    for path in [*addresses, "/ops/rq/", "/api/errors/unavailable"]:
        answer = browser_without_database.get(path)
        answer.close()
        # Ways to sign in that are not open here, or not begun, need no database to say so.
        if path in OPEN or path.startswith("/login/"):
            continue
        if path.startswith("/api/") and answer.status_code == 401:
            continue  # It takes a token only, which the browser does not send.
        assert (path, answer.status_code) == (path, 503)
        assert answer.headers["Retry-After"] == "5"
        if path in PAGES_OF_THE_API or not path.startswith("/api/"):
            assert "The database" in answer.text
            assert 'class="brand"' in answer.text
            assert "Sign out" not in answer.text


def test_without_a_database_a_part_of_a_page_is_a_message(
    browser_without_database: FlaskClient,
) -> None:
    answer = browser_without_database.get("/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Retarget"]) == (503, "#messages")
    assert "<html" not in answer.text


def test_an_address_that_is_not_there_is_a_404_without_a_database_too(
    browser_without_database: FlaskClient,
) -> None:
    for headers in ({}, {"HX-Request": "true"}):
        for path in ("/reset/of-nobody", "/unsubscribe/of-nobody", "/login/oidc"):
            answer = browser_without_database.get(path, headers=headers)
            assert (path, answer.status_code) == (path, 404)
        answer = browser_without_database.get("/nowhere", headers=headers)
        assert "There is nothing at this address" in answer.text


def test_without_redis_pages_that_need_none_are_still_shown(
    make_app: Callable[..., Flask], app: Flask, client_for: Callable[[str], FlaskClient]
) -> None:
    name = app.config["SESSION_COOKIE_NAME"]
    cookie = client_for("operator").get_cookie(name)
    assert cookie is not None
    browser = make_app(REDIS_URL=NOWHERE).test_client()
    browser.set_cookie(name, cookie.value)
    for path in plain_addresses(browser.application):
        answer = browser.get(path)
        answer.close()
        assert answer.status_code not in {500, 502}, path
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "5", path
    assert browser.get("/").status_code == 200
    for path in ("", "0/view/queues", "0/view/jobs", "0/data/workers.json"):
        answer = browser.get(f"/ops/rq/{path}", follow_redirects=True)
        assert (path, answer.status_code) == (path, 503)
        assert 'class="brand"' in answer.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk of this installation is full"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written"),
        (ResponseError("OOM command not allowed"), "queue accepts nothing more"),
        (ResponseError("MISCONF Redis is configured to save"), "queue accepts nothing more"),
        (
            ResponseError("Command # 2 (HSET key) of pipeline caused error: MISCONF Redis is"),
            "queue accepts nothing more",
        ),
        (OperationalError("", {}, psycopg.errors.DiskFull()), "disk of the database is full"),
        (
            InternalError("", {}, psycopg.errors.ReadOnlySqlTransaction()),
            "database cannot be written",
        ),
        (AuthenticationError("invalid username-password pair"), "refuses this program: REDIS_URL"),
        *((not_let_in(words), said) for words, said in LET_IN_BY_NOBODY.items()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_full_or_read_only_disk_is_said_in_those_words(
    app: Flask, caplog: pytest.LogCaptureFixture, error: Exception, words: str
) -> None:
    def fail() -> None:
        raise error

    app.add_url_rule("/test/fail", view_func=fail)
    app.add_url_rule("/api/test/fail", "api_fail", view_func=fail)
    client = app.test_client()
    page, problem = client.get("/test/fail"), client.get("/api/test/fail")
    assert (page.status_code, problem.status_code) == (503, 503)
    assert words in page.text
    assert problem.json is not None
    assert words in problem.json["detail"]
    assert words in caplog.text


@pytest.mark.skipif(SERVERS, reason="makes a SQLite file of its own")
def test_a_sqlite_file_says_itself_that_it_is_full_or_read_only(app: Flask, tmp_path: Path) -> None:
    with app.app_context():
        connection = db.engine.raw_connection()
        try:
            connection.execute("CREATE TABLE test_pages (text TEXT)")
            connection.execute("PRAGMA max_page_count = 1")
            with pytest.raises(sqlite3.OperationalError) as full:
                connection.executemany("INSERT INTO test_pages VALUES (?)", [("x" * 4000,)] * 9999)
            connection.rollback()
            connection.execute("PRAGMA query_only = ON")
            with pytest.raises(sqlite3.OperationalError) as read_only:
                connection.execute("INSERT INTO test_pages VALUES ('x')")
        finally:
            connection.detach()
            connection.close()
    for found, words in ((full, "is full"), (read_only, "cannot be written")):
        assert words in str(trouble_of(OperationalError("", {}, found.value)))


def test_a_wrong_statement_stays_a_fault_of_ours(app: Flask) -> None:
    def fail() -> None:
        db.session.execute(db.text("SELECT 1 FROM"))

    app.add_url_rule("/test/fail", view_func=fail)
    answer = app.test_client().get("/test/fail")
    assert (answer.status_code, "A fault of this program" in answer.text) == (500, True)


def test_metrics_want_credentials(app: Flask, api_for: Callable[[str], Api]) -> None:
    anonymous = app.test_client().get("/metrics")
    assert anonymous.status_code == 401
    assert anonymous.headers["WWW-Authenticate"].startswith("Basic ")
    owner = api_for("owner")
    assert app.test_client().get("/metrics", auth=("pk_none", "wrong")).status_code == 401
    assert owner.client.get("/metrics", auth=owner.auth).status_code == 403


def test_a_scraper_with_the_token_needs_no_database(make_app: Callable[..., Flask]) -> None:
    alone = make_app(
        DATABASE_URL="sqlite:////nowhere/at/all.sqlite3",
        REDIS_URL=NOWHERE,
        METRICS_TOKEN="a long token of a scraper",
    ).test_client()
    right = {"Authorization": "Bearer a long token of a scraper"}
    answer = alone.get("/metrics", headers=right)
    assert answer.status_code == 200
    assert "reports_database_up 0.0" in answer.text
    assert "reports_redis_up 0.0" in answer.text
    wrong = alone.get("/metrics", headers={"Authorization": "Bearer another"})
    assert wrong.status_code in {401, 503}
    assert "database_up" not in wrong.text


def test_who_scraped_before_may_go_on_while_the_database_is_away(
    make_app: Callable[..., Flask], api_for: Callable[[str], Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, owner = api_for("operator"), api_for("owner")
    web = make_app()
    scraper = web.test_client()
    assert scraper.get("/metrics", auth=operator.auth).status_code == 200
    with web.app_context():
        db.engine.dispose()
        monkeypatch.setitem(db.engines, None, db.create_engine("sqlite:////nowhere/at/all.sqlite3"))
    answer = scraper.get("/metrics", auth=operator.auth)
    assert (answer.status_code, "reports_database_up 0.0" in answer.text) == (200, True)
    assert scraper.get("/metrics", auth=owner.auth).status_code == 503


def test_a_database_that_cannot_be_written_is_read_by_pages_and_programs(
    app: Flask, api_for: Callable[[str], Api], client_for: Callable[[str], FlaskClient]
) -> None:
    api, browser = api_for("owner"), client_for("owner")
    long_ago = utcnow() - timedelta(hours=2)
    with app.app_context():
        db.session.execute(update(LoginSession).values(seen_at=long_ago))
        db.session.execute(update(ApiKey).values(last_used_at=long_ago))
        db.session.commit()
        is_sqlite, engine = db.engine.dialect.name == "sqlite", db.engine

    def forbid(connection: Connection) -> None:
        words = "PRAGMA query_only = ON" if is_sqlite else "SET TRANSACTION READ ONLY"
        connection.exec_driver_sql(words)

    event.listen(engine, "begin", forbid)
    try:
        assert api.get("/reports").status_code == 200
        assert browser.get("/").status_code == 200
    finally:
        event.remove(engine, "begin", forbid)
        with app.app_context():
            engine.dispose()
    assert api.get("/reports").status_code == 200
    with app.app_context():
        assert db.session.scalar(select(ApiKey.last_used_at)) > long_ago
