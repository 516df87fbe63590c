"""Two companies, everybody who may or may not, and a browser that keeps its form tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from accounts_helpers import SECRET_KEY, Browser, Program, email_of
from flask import Flask

from tests.conftest import Person, add_people, grant
from webapp.accounts import create_key, find_company, find_user

ROLES = ("admin", "expert", "viewer", "operator")
PEOPLE = (
    *(Person(email_of(role), "Acme", role) for role in ROLES),
    Person(email_of("stranger"), "Other", "admin"),
)


@pytest.fixture
def make_app(make_app: Callable[..., Flask]) -> Callable[..., Flask]:
    """Return the maker of applications, with a key these tests can forge tokens with."""
    return partial(make_app, SECRET_KEY=SECRET_KEY)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app()
    add_people(app, PEOPLE)
    return app


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def signed_in(app: Flask) -> Callable[[str], Browser]:
    """Return a browser signed in as `admin`, `expert`, `viewer`, `operator` or `stranger`."""

    def sign_in(who: str) -> Browser:
        browser = Browser(app)
        assert browser.sign_in(email_of(who)).status_code == 303
        return browser

    return sign_in


@pytest.fixture
def program(app: Flask) -> Callable[[str], Program]:
    def make(who: str, label: str = "test") -> Program:
        with app.app_context():
            user = find_user(email_of(who))
            assert user is not None
            key, secret = create_key(user, label)
            return Program(app.test_client(), key.key_id, secret, key.id, user.id)

    return make


@pytest.fixture
def company_id(app: Flask) -> Callable[[str], str]:
    def find(name: str) -> str:
        with app.app_context():
            company = find_company(name)
            assert company is not None
            return company.id

    return find


@pytest.fixture
def give(app: Flask) -> Callable[[str, str, str], None]:
    """Give somebody a role in a company: `give("expert", "Other", "expert")`."""

    def grant_role(who: str, company_name: str, role: str) -> None:
        with app.app_context():
            user, company = find_user(email_of(who)), find_company(company_name)
            assert user is not None
            assert company is not None
            grant(user, company, role)

    return grant_role
