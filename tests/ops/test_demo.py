"""The demo prints a sign-in that works, also when its user has changed it since."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from flask import Flask

from webapp import accounts
from webapp.accounts.keys import find_key, revoke_key
from webapp.accounts.people import change_password
from webapp.errors import ReportError
from webapp.extensions import db
from webapp.ops.demo import EMAIL, SignIn, kept_sign_in, say_farewell


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def printed(sign_in: SignIn) -> str:
    lines: list[str] = []
    say_farewell("http://127.0.0.1:5000", sign_in, lines.append)
    return "\n".join(lines)


def test_the_same_sign_in_is_shown_again(app: Flask, path: Path) -> None:
    with app.app_context():
        first = kept_sign_in(path)
        assert kept_sign_in(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"password  {first.password}" in printed(first)


def test_a_password_that_was_changed_is_not_shown(app: Flask, path: Path) -> None:
    with app.test_request_context():
        first = kept_sign_in(path)
        user = accounts.find_user(EMAIL)
        assert user is not None
        change_password(user, first.password, "one of my own", "one of my own")
        db.session.commit()
        again = kept_sign_in(path)
    assert (again.api_key, again.secret) == (first.api_key, first.secret)
    assert "your own password" in printed(again)
    assert first.password not in printed(again)


def test_a_key_that_was_revoked_is_replaced(app: Flask, path: Path) -> None:
    with app.app_context():
        first = kept_sign_in(path)
        key = find_key(first.api_key, first.secret)
        assert key is not None
        revoke_key(key)
        db.session.commit()
        again = kept_sign_in(path)
        assert find_key(again.api_key, again.secret)
        assert kept_sign_in(path) == again
    assert again.password == first.password
    assert first.api_key not in printed(again)


def test_a_user_of_that_name_who_is_not_the_demos_is_left_alone(app: Flask, path: Path) -> None:
    with app.app_context():
        accounts.create_user(EMAIL, "Theirs", "viewer", "one of my own")
        with pytest.raises(ReportError, match="leaves it alone"):
            kept_sign_in(path)
    assert not path.exists()
