"""What all tests share: a database with the real migrations, a real Redis, people, the stand-in.

TEST_BACKEND=embedded (the default) uses a SQLite file per test and a Redis started for the session;
TEST_BACKEND=servers uses TEST_DATABASE_URL and TEST_REDIS_URL, in a database made for the session.
"""

from __future__ import annotations

import gc
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from redis import Redis
from redis.exceptions import RedisError

from sandbox.testing import RunningStandIn, running
from tests import quick_apps
from tests.documented import only_documented_answers
from webapp import create_app
from webapp.accounts import (
    Company,
    Membership,
    Scope,
    User,
    create_key,
    create_user,
    find_user,
    scope_of,
)
from webapp.extensions import db, redis_client
from webapp.ops.embedded_redis import find_binary

ON_SERVERS = os.environ.get("TEST_BACKEND") == "servers"
# A server may be given for Redis alone.
SERVERS = ON_SERVERS and bool(os.environ.get("TEST_DATABASE_URL"))
PASSWORD = "correct horse battery"
SECRET_KEY = "a key that only tests use, 0123456789"
DEMO_KEY, DEMO_SECRET = "demo-user-key", "ZGVtby1zZWNyZXQ="

# Without the parts of a desktop browser the same pages cost a quarter.
_BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CHROMIUM = next((path for name in _BROWSERS if (path := shutil.which(name))), None)

quick_apps.install()
# The same examples each time, however long one takes; `make test-long` thinks of others each night.
_given = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("each", derandomize=True, **_given)
settings.register_profile("long", print_blob=True, **_given)
settings.load_profile("each")
# Until the tests begin there is nothing to give back, only half a million objects to look through.
gc.disable()


def pytest_collection_finish() -> None:
    """Look from now on only through what tests make, and seldom: what was imported stays."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def pytest_report_header() -> str:
    return f"backend: {'servers' if SERVERS else 'embedded'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the round on servers what they have no part in: it would be the first again."""
    if not SERVERS:
        return
    stored = {"app", "database_url", "redis_url"}
    again = {item for item in items if stored.isdisjoint(getattr(item, "fixturenames", stored))}
    again |= {item for item in items if item.get_closest_marker("once")}
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in again]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Use the Chromium of the machine where there is one, else Playwright's own."""
    path = {"executable_path": CHROMIUM} if CHROMIUM else {}
    return browser_type_launch_args | path | {"args": ["--disable-dev-shm-usage"]}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave browser tests out, and say so, on a machine without any Chromium."""
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    if item.get_closest_marker("browser") and not CHROMIUM and not list(own.glob("chromium*")):
        pytest.skip("there is no Chromium; `playwright install chromium` brings one")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Return the URL of a Redis for this session."""
    if ON_SERVERS and os.environ.get("TEST_REDIS_URL"):
        yield _own_database(os.environ["TEST_REDIS_URL"])
        return
    # A socket's path may have 107 bytes; the folders of pytest are longer.
    folder = Path(tempfile.mkdtemp(prefix="pur-"))
    socket = folder / "redis.sock"
    argv = [str(find_binary()), "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)]
    server = subprocess.Popen([*argv, "--save", ""], stdout=subprocess.DEVNULL)
    url = f"unix://{socket}?db=0"
    _wait_for_redis(url)
    yield url
    server.terminate()
    server.wait(60)
    shutil.rmtree(folder)


def _own_database(url: str) -> str:
    """Return the given URL, with a database number of its own for each process of the run."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base, _, database = url.rpartition("/")
    return f"{base}/{int(database) - number}" if database.isdigit() and number else url


def _wait_for_redis(url: str) -> None:
    client = Redis.from_url(url)
    deadline = time.monotonic() + 60
    while True:
        try:
            client.ping()
            client.close()
            return
        except RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def _postgres() -> Iterator[sa.Engine | None]:
    """Make a database of this session's own on the test server, with the real migrations."""
    given = os.environ.get("TEST_DATABASE_URL") if SERVERS else None
    if not given:
        yield None
        return
    url = sa.make_url(given.replace("postgres://", "postgresql://", 1))
    name = f"pur_test_{secrets.token_hex(4)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
        # No test pulls the plug of this server; waiting for its disk at each commit takes minutes.
        connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit TO off"))
    own = url.set(database=name)
    _migrate(own.render_as_string(hide_password=False))
    engine = sa.create_engine(own, pool_pre_ping=True)
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def _sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file that each test copies."""
    path = tmp_path_factory.mktemp("template") / "app.sqlite3"
    _migrate(f"sqlite:///{path}")
    return path


def _migrate(database_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            {
                "DATA_DIR": folder,
                "DATABASE_URL": database_url,
                "SECRET_KEY": SECRET_KEY,
                "REDIS_URL": "redis://127.0.0.1:1/0",
            }
        )
        with app.app_context():
            flask_migrate.upgrade()
            quick_apps.share_statements(db.engine)
            if db.engine.dialect.name == "sqlite":
                with db.engine.connect() as connection:
                    connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
            db.engine.dispose()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty, migrated database."""
    postgres: sa.Engine | None = request.getfixturevalue("_postgres")
    if postgres is None:
        path = tmp_path / "app.sqlite3"
        shutil.copy(request.getfixturevalue("_sqlite"), path)
        return f"sqlite:///{path}"
    with postgres.begin() as connection:
        connection.exec_driver_sql(_deletes())
    return postgres.url.render_as_string(hide_password=False)


@cache
def _deletes() -> str:
    """Return what empties every table: quicker than TRUNCATE, which makes new files for dozens.

    In one go, because each of dozens of round trips takes longer than its work.
    """
    return "; ".join(str(table.delete()) for table in reversed(db.metadata.sorted_tables))


@pytest.fixture
def make_app(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Return a maker of applications on this test's database; settings by keyword."""
    made: list[Flask] = []

    def make(report_kinds: Any = None, **settings: Any) -> Flask:
        values = {
            "DATA_DIR": str(tmp_path / "var"),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": SECRET_KEY,
            "QUEUE": f"test-{secrets.token_hex(4)}",
            "TRIES_STORAGE_URI": "memory://",
            "PARTNER_SEARCHES_PER_SECOND": 0.0,
            "PARTNER_CALLS_PER_SECOND": 0.0,
            "HEARTBEAT_SECONDS": 0.5,
        }
        more = {"report_kinds": report_kinds} if report_kinds is not None else {}
        app = create_app(values | settings, **more)
        with app.app_context():
            quick_apps.share_statements(db.engine)
            quick_apps.share_connections(db.engine)
        made.append(app)
        return app

    yield make
    for app in made:
        # It reads from the client until it has seen that nobody listens.
        if hub_thread := app.extensions["line_hub"].threads.get("line-hub"):
            hub_thread.join(2)
        with app.app_context():
            db.session.remove()
            quick_apps.close(db.engine)
        redis_client(app).close()


@pytest.fixture
def app(make_app: Callable[..., Flask], stand_in: RunningStandIn) -> Iterator[Flask]:
    """Return an application with the four people, whose partner is the stand-in.

    No test may see an answer of it that the OpenAPI document does not describe.
    """
    app = make_app(PARTNER_API_URL=stand_in.url_template)
    add_people(app)
    with only_documented_answers(app):
        yield app


def _renewed(row: dict[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with each id in it replaced, the same one always by the same."""
    uuid = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    return {
        name: ids[value] if isinstance(value, str) and uuid.fullmatch(value) else value
        for name, value in row.items()
    }


@dataclass(frozen=True)
class Person:
    """Somebody of the tests; owner, colleague and viewer share a company."""

    name: str
    company: str
    role: str

    @property
    def email(self) -> str:
        return self.name if "@" in self.name else f"{self.name}@example.com"


PEOPLE = (
    Person("owner", "Acme", "admin"),
    Person("colleague", "Acme", "expert"),
    Person("viewer", "Acme", "viewer"),
    Person("stranger", "Other", "admin"),
    Person("operator", "Operations", "operator"),
)


_people_rows: dict[tuple[Person, ...], list[tuple[sa.Table, list[dict[str, Any]]]]] = {}


def grant(user: User, company: Company, role: str) -> None:
    """Give somebody a role in a company, as an invitation they accept does."""
    db.session.merge(Membership(user_id=user.id, company_id=company.id, role=role))
    db.session.commit()


def add_people(app: Flask, people: tuple[Person, ...] = PEOPLE) -> None:
    """Add everybody to an empty database; hashing passwords is slow, so it is done once."""
    with app.app_context():
        if people in _people_rows:
            # Ids of its own for each test: Redis lasts longer than a test and knows companies.
            ids: defaultdict[str, str] = defaultdict(lambda: str(uuid4()))
            for table, rows in _people_rows[people]:
                db.session.execute(table.insert(), [_renewed(row, ids) for row in rows])
            db.session.commit()
            return
        for person in people:
            create_user(person.email, person.company, person.role, PASSWORD)
        read = [
            (table, [dict(row) for row in db.session.execute(table.select()).mappings()])
            for table in db.metadata.sorted_tables
        ]
        _people_rows[people] = [(table, rows) for table, rows in read if rows]


def find_scope(app: Flask, name: str) -> Scope:
    """Return the scope of a person in their home company."""
    with app.app_context():
        user = find_user(f"{name}@example.com")
        assert user is not None
        scope = scope_of(user, user.home_company_id)
        assert scope is not None
        return scope


@pytest.fixture
def scope(app: Flask) -> Scope:
    """Return the owner's scope."""
    return find_scope(app, "owner")


@pytest.fixture
def client_for(app: Flask) -> Callable[[str], FlaskClient]:
    """Return a browser signed in as somebody: `client_for("owner")`; it knows its form token."""

    def sign_in(name: str) -> FlaskClient:
        client = app.test_client()
        token = form_token(client, "/login")
        answer = client.post(
            "/login",
            data={"csrf_token": token, "email": f"{name}@example.com", "password": PASSWORD},
        )
        assert answer.status_code == 303, answer.text
        return client

    return sign_in


def form_token(client: FlaskClient, path: str = "/account") -> str:
    """Return the form token of a page."""
    found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


@pytest.fixture
def api_for(app: Flask) -> Callable[[str], Api]:
    """Return a program with somebody's key: `api_for("owner").get("/reports")`."""

    def make(name: str) -> Api:
        with app.app_context():
            user = find_user(f"{name}@example.com")
            assert user is not None
            key, secret = create_key(user, "tests")
            return Api(app.test_client(), (key.key_id, secret))

    return make


@dataclass
class Api:
    """A program's client of /api/v1, signed in by Basic."""

    client: FlaskClient
    auth: tuple[str, str]

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(f"/api/v1{path}", auth=self.auth, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        return self.client.post(f"/api/v1{path}", json=json, auth=self.auth, **more)

    def delete(self, path: str, **more: Any) -> Any:
        return self.client.delete(f"/api/v1{path}", auth=self.auth, **more)


@pytest.fixture(scope="session")
def _stand_in() -> Iterator[RunningStandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(_stand_in: RunningStandIn) -> RunningStandIn:
    """Return the stand-in partner API, its counters at zero, without faults or latency."""
    _stand_in.reset()
    _stand_in.settings(latency_ms=0, jitter_ms=0, rate=0)
    return _stand_in


@pytest.fixture
def partner_use() -> Callable[..., dict[str, Any]]:
    """Return a maker of partner-use parameters for the small demo partner."""

    def make(**params: Any) -> dict[str, Any]:
        return {
            "partner_id": "70000001",
            "user_key": DEMO_KEY,
            "user_secret": DEMO_SECRET,
            "mode": "summary",
        } | params

    return make
