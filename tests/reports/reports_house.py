"""What the pages' tests share: the people of the house and their form tokens."""

from __future__ import annotations

import re

from flask import Flask
from flask.testing import FlaskClient

from webapp.accounts import Scope, create_user, find_user, scope_of

PASSWORD = "correct horse battery"
PEOPLE = (
    ("owner", "Acme", "admin"),
    ("colleague", "Acme", "expert"),
    ("viewer", "Acme", "viewer"),
    ("stranger", "Other", "admin"),
    ("operator", "House", "operator"),
)


def add_people(app: Flask) -> None:
    """Make everybody, in their companies."""
    with app.app_context():
        for name, company, role in PEOPLE:
            create_user(f"{name}@example.com", company, role, PASSWORD)


def find_scope(app: Flask, name: str) -> Scope:
    """Return somebody's scope in their own company."""
    with app.app_context():
        user = find_user(f"{name}@example.com")
        assert user is not None
        scope = scope_of(user, user.home_company_id)
        assert scope is not None
        return scope


def form_token(client: FlaskClient, path: str = "/account") -> str:
    """Return the form token of a page."""
    found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]
