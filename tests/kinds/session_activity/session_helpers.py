"""A program that speaks to the session manager, and what it sends."""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from typing import Any

from flask.testing import FlaskClient

PREFIX = "/api/session-manager"
LOGINS, COMPUTERS = ("anna", "bela"), ("pink0001", "blue0002", "red0003")


@dataclass
class Sender:
    """A program that speaks to the session manager with an API key."""

    client: FlaskClient
    auth: tuple[str, str]

    def get(self, path: str, **query: str) -> Any:
        return self.client.get(PREFIX + path, query_string=query, auth=self.auth)

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        if json is not None:
            # As programs write it; the application's own writer mends half characters.
            more |= {"data": dumps(json), "content_type": "application/json"}
        return self.client.post(PREFIX + path, auth=self.auth, **more)

    def begin(self, key: str, at: str | None, login: str = "anna", **more: Any) -> Any:
        body = {
            "id": key,
            "comp_name": "pink0001",
            "ip_addr": "192.168.1.100",
            "login": login,
            "next_ping_sec": 60,
            "date_time": at,
        }
        return self.post("/session", body | more)

    def ping(self, id: str, at: str | None, login: str = "anna", **more: Any) -> Any:
        return self.post("/activity", ping_body(id, at, login, **more))

    def hours(self, **query: str) -> Any:
        answer = self.get("/activity", **({"login": "anna"} | query))
        assert answer.status_code == 200, answer.text
        return answer.json["data"]


def ping_body(id: str, at: str | None, login: str = "anna", **more: Any) -> dict[str, Any]:
    body = {"session_id": id, "session_type": "", "login": login, "next_ping_sec": 60}
    return body | {"date_time": at} | more
