"""A misbehaving partner and a session with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from bad_server import BadServer
from pace_helpers import Maker, running_redis
from partner_helpers import Talk, body_of

from webapp.partner.pace import LocalRateLimiter, RedisRateLimiter
from webapp.partner.session import PartnerSession
from webapp.partner.sites import Site


@pytest.fixture
def server() -> Iterator[BadServer]:
    with BadServer() as server:
        yield server


@pytest.fixture
def talk(server: BadServer) -> Iterator[Talk]:
    with ExitStack() as stack:
        yield Talk(server, stack)


@pytest.fixture
def session(talk: Talk) -> PartnerSession:
    return talk.session()


@pytest.fixture
def site() -> Site:
    return Site("119500000001", "4_aaaaAAAA-00_parent", "shop.example.com", "eu1")


@pytest.fixture
def ask(session: PartnerSession) -> Callable[[], dict[str, Any]]:
    """Make one plain call; what it answers is the server's affair."""
    return lambda: body_of(session, "accounts.search", "eu1", {"apiKey": "4_a", "query": "q"})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A Redis of this module alone, on a socket of its own."""
    folder = tmp_path_factory.mktemp("redis")
    with running_redis(folder / "r.sock", folder) as client:
        yield client


@pytest.fixture(autouse=True)
def _patient_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a second must not look like a Redis that is away."""
    monkeypatch.setattr("webapp.partner.pace.SILENT_S", 20.0)


@pytest.fixture(params=["local", "redis"])
def make(request: pytest.FixtureRequest) -> Maker:
    """Return a maker of paces, of this process alone and shared."""
    if request.param == "local":
        return LocalRateLimiter
    client = request.getfixturevalue("client")
    return lambda rate, **more: RedisRateLimiter(client, uuid.uuid4().hex, rate, **more)
