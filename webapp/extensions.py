"""The objects that belong to the application as a whole, unbound until `create_app`.

`db` (Flask-SQLAlchemy), `login_manager`, `csrf`, and the accessors of Redis and of the RQ
queue. Also the column types all rooms share: times that are always aware UTC, IDs of ours, and
whose a row is. `Mapped[CompanyId] = mapped_column(primary_key=True)` adds to them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from flask import Flask, current_app
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from redis import BlockingConnectionPool, ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy import CursorResult, DateTime, Dialect, ForeignKey, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.types import TypeDecorator

from webapp.databases import engine_options

QUICK_S = 1.0
AWAY_S = 2.0


class Base(DeclarativeBase):
    """Base of all models; names of constraints are fixed so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)
if TYPE_CHECKING:
    # Made at run time, so a type checker is told what it is made from.
    Model = Base
else:
    Model = db.Model
MIGRATIONS = str(Path(__file__).resolve().parent.parent / "migrations")
login_manager = LoginManager()
csrf = CSRFProtect()


class _Migrations:
    """Stands where Flask-Migrate looks for itself until then: with Alembic it weighs 11 MB."""

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate

        # It takes this one's place.
        Migrate(current_app, db, MIGRATIONS, compare_type=True)
        return getattr(current_app.extensions["migrate"], name)


# In the `info` of a table that grows: the column that dates its rows, and the setting that says how
# long they are kept.
KEPT = "kept"


def kept(dated_by: str, setting: str) -> dict[str, Any]:
    """Return the arguments of a table whose rows a setting governs."""
    return {"info": {KEPT: (dated_by, setting)}}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: stored as UTC, always returned aware. SQLite would hand back naive times."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone was about to be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_UUID = Uuid(as_uuid=False)
UuidText = Annotated[str, mapped_column(_UUID)]
# The primary key of a row that is named by an ID alone.
NewId = Annotated[str, mapped_column(_UUID, primary_key=True, default=lambda: str(uuid4()))]
CompanyId = Annotated[str, mapped_column(_UUID, ForeignKey("company.id"))]
UserId = Annotated[str, mapped_column(_UUID, ForeignKey("app_user.id"))]
# Of a row that goes with its job.
JobId = Annotated[str, mapped_column(_UUID, ForeignKey("job.id", ondelete="CASCADE"))]


def init_app(app: Flask) -> None:
    """Bind the extensions and make this application's Redis client."""
    app.extensions["redis_client"] = Redis(
        connection_pool=BlockingConnectionPool.from_url(
            app.config["REDIS_URL"],
            health_check_interval=30,
            max_connections=100,
            timeout=5,
            socket_connect_timeout=2,
            # A page waits for this; a job that is not enqueued now is found by the janitor.
            retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=0.5), 2),
        )
    )
    app.extensions["quick_redis"] = QuickRedis(
        connection_pool=QuickPool.from_url(
            app.config["REDIS_URL"],
            health_check_interval=30,
            socket_connect_timeout=QUICK_S,
            # A connection that has died is made anew; who is silent is not asked again.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
    )
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", engine_options(app.config["DATABASE_URL"]))
    db.init_app(app)
    app.extensions["migrate"] = _Migrations()
    login_manager.init_app(app)
    csrf.init_app(app)


def this_app() -> Flask:
    """Return the application itself, for a thread that has no context of it."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def rows_changed(change: UpdateBase) -> int:
    """Return how many rows a change met, made in the session; the caller commits."""
    done = db.session.execute(change)
    assert isinstance(done, CursorResult)
    return done.rowcount


def redis_client(app: Flask | None = None) -> Redis:
    """Return the application's Redis client (binary answers, pooled connections)."""
    client: Redis = (app or current_app).extensions["redis_client"]
    return client


def quick_redis(app: Flask | None = None) -> QuickRedis:
    """Return the client for what a run can do without: it gives up soon, and rests after that."""
    client: QuickRedis = (app or current_app).extensions["quick_redis"]
    return client


class QuickPool(ConnectionPool):
    """Makes connections that wait for an answer as long as QUICK_S.

    RQ, asked which workers there are, lets all connections that a pool makes from then on wait for
    more than a minute: a worker waits for jobs. Those who only ask about workers do not.
    """

    def make_connection(self) -> Any:
        """Return a new connection."""
        self.connection_kwargs["socket_timeout"] = QUICK_S
        return super().make_connection()


class QuickRedis(Redis):
    """A client that, after a failure, fails at once for a moment; its pipelines do the same.

    A Redis that hangs would otherwise cost each site and each line of a report its whole patience.
    """

    away_until = 0.0
    # Who refuses the password is not merely away.
    away_as: type[RedisConnectionError] = RedisConnectionError

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Return the answer; raises ConnectionError at once while Redis is held to be away."""
        with self.noticing():
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> QuickPipeline:
        """Return a pipeline that shares this client's memory of when Redis was away."""
        made = QuickPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.quick = self
        return made

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Raise ConnectionError at once while Redis is away, and remember when it is found so."""
        if time.monotonic() < self.away_until:
            raise self.away_as("Redis was away a moment ago.")
        try:
            yield
        except (RedisConnectionError, RedisTimeout) as error:
            self.away_as = RedisConnectionError
            if isinstance(error, RedisConnectionError):
                self.away_as = type(error)
            self.away_until = time.monotonic() + AWAY_S
            raise


class QuickPipeline(Pipeline):
    """Commands of a `QuickRedis` sent together."""

    quick: QuickRedis

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Return the answers; raises ConnectionError at once while Redis is held to be away."""
        with self.quick.noticing():
            return super().execute(raise_on_error)


def report_queue() -> Queue:
    """Return the queue jobs are handed to; with Redis away that fails within a second or two.

    Jobs are JSON: pickles in Redis would be code.
    """
    return Queue(current_app.config["QUEUE"], connection=quick_redis(), serializer=JSONSerializer)


def public_url() -> str:
    """Return what links in mails and webhooks begin with."""
    config = current_app.config
    return str(config["PUBLIC_URL"] or f"http://{config['HOST']}:{config['PORT']}").rstrip("/")
