"""Keys limited to sending: made on the page and by command."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import form_token
from tests.kinds.session_activity.session_helpers import Sender


def sends_and_reads(app: Flask, auth: tuple[str, str]) -> tuple[int, int]:
    program = Sender(app.test_client(), auth)
    sent = program.post("/users", [{"Name": "anna"}]).status_code
    return sent, program.get("/dashboard").status_code


def test_a_key_that_only_sends_is_made_on_the_page(
    app: Flask, client_for: Callable[[str], FlaskClient]
) -> None:
    browser = client_for("colleague")
    form = {"csrf_token": form_token(browser, "/keys"), "label": "lab", "sends_only": "true"}
    page = browser.post("/keys", data=form)
    assert page.status_code == 201
    found = [
        re.search(rf'<code[^>]* id="{name}">([^<]+)</code>', page.text)
        for name in ("new-api-key", "new-secret")
    ]
    key, secret = (one[1] for one in found if one)
    assert sends_and_reads(app, (key, secret)) == (201, 403)
    assert "sends only" in browser.get("/keys").text


def test_a_key_that_only_sends_is_made_by_command(app: Flask) -> None:
    command = ["key", "create", "owner@example.com", "--label", "lab", "--send-only"]
    made = json.loads(app.test_cli_runner().invoke(args=command).output)
    assert sends_and_reads(app, (made["api_key"], made["secret"])) == (201, 403)


def test_a_revoked_key_stops_at_once(app: Flask, sender: Sender) -> None:
    from webapp.accounts import find_key
    from webapp.accounts.keys import revoke_key
    from webapp.extensions import db

    with app.app_context():
        key = find_key(*sender.auth)
        assert key is not None
        revoke_key(key)
        db.session.commit()
    assert sender.begin("s1", None).status_code == 401
