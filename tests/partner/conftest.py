"""A misbehaving partner and a session with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from bad_server import BadServer
from partner_house import Talk

from webapp.partner import PartnerSession, Site


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
    return lambda: session.call(
        "accounts.search", "eu1", {"apiKey": "4_a", "query": "q"}, pace=session.search_pace
    )
