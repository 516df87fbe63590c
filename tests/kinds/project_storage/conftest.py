"""Fixtures of project storage: callers of its API, the ids of people, counting by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.kinds.project_storage.storage_helpers import Storage
from webapp.accounts import find_user
from webapp.kinds.project_storage import counting


@pytest.fixture
def storage_for(api_for: Callable[[str], Any]) -> Callable[[str], Storage]:
    """Return a maker of callers: `storage_for("owner")`."""
    return lambda name: Storage(api_for(name))


@pytest.fixture
def owner(storage_for: Callable[[str], Storage]) -> Storage:
    """Return the owner with a provider and a project."""
    return storage_for("owner").start()


@pytest.fixture
def user_id(app: Flask) -> Callable[[str], str]:
    """Return the id of somebody of the tests."""

    def find(name: str) -> str:
        with app.app_context():
            user = find_user(f"{name}@example.com")
            assert user is not None
            return str(user.id)

    return find


@pytest.fixture
def count(app: Flask) -> Callable[[], int]:
    """Return a function that counts all waiting events here and now."""

    def run() -> int:
        with app.app_context():
            return sum(map(counting.count_project, counting.waiting_projects()))

    return run
