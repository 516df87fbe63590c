"""The requests of DukeDSClient, as it sends them: a raw token, forms, pages, and their answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.kinds.project_storage.storage_helpers import Storage

JSON = "application/json"


@pytest.fixture
def call(owner: Storage) -> Callable[..., Any]:
    """Return what sends a request with the token alone in Authorization, got by key and secret."""
    client: FlaskClient = owner.api.client
    keys = dict(zip(("agent_key", "user_key"), owner.api.auth, strict=True))
    made = client.post("/api/v1/software_agents/api_token", json=keys)
    assert made.status_code == 201, made.text
    assert time.time() + 5000 < made.json["expires_on"] < time.time() + 5500
    headers = {"Authorization": made.json["api_token"]}

    def send(method: str, path: str, **more: Any) -> Any:
        more.setdefault("content_type", JSON)
        return client.open(f"/api/v1{path}", method=method, headers=headers, **more)

    return send


def test_it_makes_finds_and_deletes_a_project(call: Callable[..., Any]) -> None:
    made = call("POST", "/projects", json={"name": "Rat", "description": "Rats we met"})
    assert made.status_code == 201
    project = f"/projects/{made.json['id']}"
    assert "X-Total-Pages" not in made.headers
    listed = call("GET", "/projects", query_string={"page": 1, "per_page": 100})
    assert listed.headers["X-Total-Pages"] == "1"
    assert [one["name"] for one in listed.json["results"]] == ["Mouse", "Rat"]
    assert listed.json["results"][1] == call("GET", project, query_string="{}").json == made.json
    assert made.json | {"kind": "dds-project", "is_deleted": False} == made.json
    assert made.json["description"] == "Rats we met"
    assert call("DELETE", project, query_string={}).status_code == 204
    gone = call("GET", project)
    assert (gone.status_code, gone.json["code"]) == (404, "resource_not_found")


def test_it_gives_reads_and_takes_a_role(
    call: Callable[..., Any], owner: Storage, user_id: Callable[[str], str]
) -> None:
    [provider] = call("GET", "/auth_providers").json["results"]
    assert (provider["is_default"], provider["is_deprecated"]) == (True, False)
    [found] = call("GET", "/users", query_string={"email": "colleague@example.com"}).json["results"]
    assert set(found) == {"id", "username", "full_name", "first_name", "last_name", "email"}
    assert found["id"] == user_id("colleague")
    path = f"/projects/{owner.project}/permissions"
    form = {"auth_role[id]": "file_editor"}
    given = call(
        "PUT", f"{path}/{found['id']}", data=form, content_type="application/x-www-form-urlencoded"
    )
    assert (given.status_code, given.json["auth_role"]["name"]) == (200, "File Editor")
    assert call("GET", f"{path}/{found['id']}").json == given.json
    roles = {
        one["user"]["email"]: one["auth_role"]["id"]
        for one in call("GET", f"{path}/", query_string="page=1").json["results"]
    }
    assert roles == {"colleague@example.com": "file_editor", "owner@example.com": "project_admin"}
    assert call("DELETE", f"{path}/{found['id']}").status_code == 204
    assert call("GET", f"{path}/{found['id']}").status_code == 404


def test_it_asks_for_roles_providers_and_itself(call: Callable[..., Any], owner: Storage) -> None:
    roles = call("GET", "/auth_roles", query_string={"context": "project"}).json["results"]
    assert roles[0]["id"] == "project_admin"
    assert all(not one["is_deprecated"] and one["description"] for one in roles)
    assert call("GET", "/auth_roles", query_string={"context": "system"}).json["results"] == []
    assert call("GET", "/auth_roles/file_editor").json["name"] == "File Editor"
    assert call("GET", "/auth_roles/king").status_code == 404
    assert call("GET", f"/storage_providers/{owner.provider}").json["description"] == "swift!"
    assert call("GET", "/current_user").json["email"] == "owner@example.com"
    token = call("GET", "/user/api_token").json["api_token"]
    headers = {"Authorization": token}
    assert owner.api.client.get("/api/v1/current_user", headers=headers).status_code == 200
    assert owner.api.get("/user/api_token").json["time_to_live"] == 5400


def test_what_it_sends_wrong_is_400_and_its_wrong_keys_are_404(
    call: Callable[..., Any], owner: Storage
) -> None:
    wrong = call("POST", "/projects", json={"name": ""})
    assert (wrong.status_code, wrong.json["code"]) == (400, "validation_failed")
    assert wrong.json["errors"][0]["field"] == "name"
    for keys in (
        {"agent_key": owner.api.auth[0], "user_key": "x"},
        {"agent_key": "x", "user_key": "x"},
    ):
        refused = owner.api.client.post("/api/v1/software_agents/api_token", json=keys)
        assert refused.status_code == 404
    headers = {"Authorization": "a.b.c"}
    assert owner.api.client.get("/api/v1/projects", headers=headers).status_code == 401
