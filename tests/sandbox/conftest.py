"""A stand-in that runs for the whole of this folder's tests, and a caller for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sandbox.keys import KEYS
from sandbox.partners import Site
from sandbox.testing import RunningStandIn, running


@dataclass
class Caller:
    """Calls the stand-in as a plain HTTP client would."""

    stand_in: RunningStandIn
    session: requests.Session

    def post(self, method: str, data_center: str = "us1", **params: Any) -> requests.Response:
        """Return the raw response to a call with the demo credentials, unless others are given."""
        user_key = params.setdefault("userKey", "demo-user-key")
        if "secret" not in params and user_key in KEYS:
            params["secret"] = KEYS[user_key].secret
        namespace = method.split(".")[0]
        base = self.stand_in.url_template.format(namespace=namespace, data_center=data_center)
        return self.session.post(f"{base}/{method}", params, timeout=60, allow_redirects=False)

    def __call__(self, method: str, data_center: str = "us1", **params: Any) -> dict[str, Any]:
        """Return the answer to a call."""
        return self.post(method, data_center, **params).json()

    def search(self, site: Site, query: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a search where the site lives."""
        return self("accounts.search", site.data_center, apiKey=site.api_key, query=query, **params)


@pytest.fixture(scope="session")
def _running() -> Iterator[RunningStandIn]:
    with running() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(_running: RunningStandIn) -> Iterator[RunningStandIn]:
    """The stand-in with counters at zero, no faults, no latency and no limit."""
    _running.reset()
    _running.settings(latency_ms=0, jitter_ms=0, rate=None)
    yield _running
    _running.reset()


@pytest.fixture
def call(stand_in: RunningStandIn) -> Iterator[Caller]:
    """A caller of the stand-in."""
    with requests.Session() as session:
        yield Caller(stand_in, session)
