"""Fixtures of this room: a Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faults_helpers import OwnRedis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    """Return a Redis that this test may stop, freeze and empty."""
    folder = tmp_path / "redis"
    folder.mkdir()
    found = OwnRedis(folder)
    yield found
    found.stop()
