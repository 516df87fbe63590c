"""What the tests of this room share: people's emails, a browser, a program with a key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PASSWORD = "correct horse battery"
SECRET_KEY = "a key only these tests use, 0123456789"


class Browser:
    """A client with a cookie jar that reads the form token from the pages it is given."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.client.get(path, **kwargs)

    def post(self, path: str, form: dict[str, str] | None = None, **kwargs: Any) -> TestResponse:
        data = {"csrf_token": self.form_token()} | (form or {})
        return self.client.post(path, data=data, **kwargs)

    def form_token(self) -> str:
        for path in ("/account", "/login", "/account/second-factor"):
            found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
            if found:
                return found[1]
        raise AssertionError("no page holds a form token")

    def sign_in(self, email: str, password: str = PASSWORD, **form: str) -> TestResponse:
        return self.post("/login", {"email": email, "password": password} | form)


def email_of(who: str) -> str:
    return "stranger@other.example.com" if who == "stranger" else f"{who}@acme.example.com"


@dataclass
class Program:
    """A program with an API key: its client, its Basic credentials, its ids."""

    client: FlaskClient
    key_id: str
    secret: str
    key_row: str
    user_id: str

    @property
    def basic(self) -> dict[str, Any]:
        return {"auth": (self.key_id, self.secret)}

    def log_in(self) -> dict[str, Any]:
        answer = self.client.post(
            "/api/keys/v1/api/auth", json={"apiKey": self.key_id, "secret": self.secret}
        )
        assert answer.status_code == 200, answer.text
        return answer.json or {}

    def get(self, path: str, token: str) -> TestResponse:
        return self.client.get(path, headers=bearer(token))

    def switch(self, company_id: str, token: str) -> TestResponse:
        return self.client.post(
            "/api/auth/token/switch", json={"companyId": company_id}, headers=bearer(token)
        )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
