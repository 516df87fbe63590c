"""Feeding: projects, roles, providers, events with a verdict each, deletion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.kinds.project_storage.storage_helpers import Storage
from webapp.extensions import db
from webapp.kinds.project_storage import models


def test_a_project_keeps_the_id_it_is_given_once(owner: Storage) -> None:
    project_id = str(uuid4())
    made = owner.api.post("/projects", {"id": project_id.upper(), "name": "Given"})
    assert (made.status_code, made.json["id"], made.json["name"]) == (201, project_id, "Given")
    again = owner.api.post("/projects", {"id": project_id, "name": "Again"})
    assert again.status_code == 409
    assert set(again.json) == {"error", "code", "reason", "suggestion"}


def test_another_company_may_use_the_same_id(
    owner: Storage, storage_for: Callable[[str], Storage]
) -> None:
    stranger = storage_for("stranger")
    assert stranger.api.post("/projects", {"id": owner.project, "name": "Mine"}).status_code == 201
    assert stranger.api.get(f"/projects/{owner.project}/stats").json["project"]["name"] == "Mine"
    assert owner.api.get(f"/projects/{owner.project}/stats").json["project"]["name"] == "Mouse"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "x", "id": "stats"}, "id"),
        ({"name": "x", "more": 1}, "more"),
    ],
)
def test_a_project_that_cannot_be_made_says_why(
    owner: Storage, body: dict[str, Any], field: str
) -> None:
    answer = owner.api.post("/projects", body)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json["errors"]] == [field]


def test_bodies_that_are_no_json_are_refused(owner: Storage) -> None:
    post, auth = owner.api.client.post, owner.api.auth
    kind = {"Content-Type": "application/json"}
    assert post("/api/v1/projects", data="{", auth=auth, headers=kind).status_code == 400
    assert post("/api/v1/projects", data="a=b", auth=auth).status_code == 415
    assert post("/api/v1/projects", auth=auth).status_code == 400
    assert owner.api.post("/projects", [1]).status_code == 400
    wrong = owner.api.client.put("/api/v1/projects", auth=owner.api.auth)
    assert wrong.status_code == 405
    assert wrong.json["error"] == "405"


def test_each_event_gets_its_own_verdict(owner: Storage, count: Callable[[], int]) -> None:
    good = owner.event("upload", "v1", "2025-01-01T00:00:00Z")
    at = "2025-01-01T00:00:00Z"
    sent = [
        good,
        good,
        good | {"bytes": 7},
        owner.event("burn", "v1", at),
        owner.event("upload", "v2", at, bytes=-1),
        owner.event("upload", "v2", at, bytes=2**63),
        owner.event("upload", "v2", at, bytes=True),
        owner.event("upload", "v2", at, bytes=1.5),
        owner.event("upload", "v2", at, storage_provider_id=str(uuid4())),
        owner.event("upload", "v2", "2025-01-01T00:00:00"),
        owner.event("upload", "v2", "2025-02-30T00:00:00Z"),
        owner.event("upload", "v2", "2999-01-01T00:00:00Z"),
        owner.event("trash", "", at),
        {"type": "trash", "file_version_id": "v1", "at": at},
        "nonsense",
        owner.event("upload", "v2", "2025-01-01T02:00:00.5+02:00"),
    ]
    verdicts = owner.send(sent)
    found = [one["verdict"] for one in verdicts]
    assert found == ["accepted", "duplicate", *["rejected"] * 13, "accepted"]
    assert all(one.get("reason") for one in verdicts if one["verdict"] == "rejected")
    assert verdicts[0] == {"id": good["id"], "verdict": "accepted"}
    assert owner.send([good])[0]["verdict"] == "duplicate"
    assert owner.send([good | {"id": good["id"].upper()}])[0]["verdict"] == "duplicate"
    assert count() == 2
    assert owner.held() == (2, 200, 0, 0)


def test_a_leap_second_is_the_second_before(app: Flask, owner: Storage) -> None:
    sent = [
        owner.event("upload", "v1", "2016-12-31T23:59:60Z"),
        owner.event("upload", "v2", "2016-12-31T23:59:61Z"),
    ]
    assert [one["verdict"] for one in owner.send(sent)] == ["accepted", "rejected"]
    with app.app_context():
        at_us = db.session.scalar(select(models.FileEvent.at_us))
    assert at_us == int(datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**6


def test_events_come_as_a_list_of_bounded_length(owner: Storage) -> None:
    path = f"/projects/{owner.project}/file_events"
    assert owner.api.post(path, {"events": []}).status_code == 400
    assert owner.api.post(path, [1] * 10_001).status_code == 413
    assert owner.api.post(path, []).json == {"results": []}


def test_roles_decide_who_may_report_what(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    viewer = storage_for("viewer")
    viewer.project, viewer.provider = owner.project, owner.provider
    at = "2025-01-01T00:00:00Z"
    path = f"/projects/{owner.project}/file_events"
    assert viewer.api.post(path, []).status_code == 403
    for role, verdicts in {
        "project_viewer": None,
        "file_downloader": None,
        "file_uploader": ["accepted", "rejected"],
        "file_editor": ["accepted", "accepted"],
    }.items():
        owner.give(user_id("viewer"), role)
        sent = [viewer.event("upload", role, at), viewer.event("trash", role, at)]
        answer = viewer.api.post(path, sent)
        if verdicts is None:
            assert answer.status_code == 403
        else:
            assert [one["verdict"] for one in answer.json["results"]] == verdicts


def test_only_a_project_admin_gives_and_takes_roles(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    colleague = storage_for("colleague")
    colleague.project = owner.project
    assert colleague.give(user_id("colleague"), "project_admin").status_code == 403
    assert owner.give(user_id("stranger"), "project_viewer").status_code == 404
    assert owner.give(user_id("colleague"), "king").status_code == 400
    assert owner.give(user_id("owner"), "project_viewer").status_code == 409
    assert owner.give(user_id("colleague"), "file_editor").status_code == 200
    assert colleague.give(user_id("viewer"), "project_viewer").status_code == 403
    path = f"/projects/{owner.project}/permissions/{user_id('colleague')}"
    assert colleague.api.delete(path).status_code == 403
    assert owner.api.delete(path).status_code == 204
    assert owner.api.delete(path).status_code == 404
    assert owner.api.delete(path.replace("colleague", "owner")).status_code == 404
    assert colleague.api.get(f"/projects/{owner.project}/stats").status_code == 403
    mine = f"/projects/{owner.project}/permissions/{user_id('owner')}"
    assert owner.api.delete(mine).status_code == 409


def test_an_admin_of_the_company_gives_and_takes_roles_in_any_project_of_it(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    colleague, stranger = storage_for("colleague"), storage_for("stranger")
    theirs = colleague.make_project("Theirs")
    # The company's admin has no role in it and sees nothing of it, until one is given.
    assert owner.api.get(f"/projects/{theirs}/stats").status_code == 403
    assert owner.api.delete(f"/projects/{theirs}").status_code == 403
    assert owner.give(user_id("viewer"), "project_viewer", theirs).status_code == 200
    assert owner.api.get(f"/projects/{theirs}/stats").status_code == 403
    role = f"/projects/{theirs}/permissions/"
    assert owner.api.delete(role + user_id("viewer")).status_code == 204
    assert owner.api.delete(role + user_id("colleague")).status_code == 409
    assert stranger.api.delete(role + user_id("colleague")).status_code == 404
    assert owner.give(user_id("owner"), "project_admin", theirs).status_code == 200
    assert owner.api.get(f"/projects/{theirs}/stats").status_code == 200
    assert stranger.give(user_id("stranger"), "project_viewer", theirs).status_code == 404


def test_a_company_viewer_makes_neither_projects_nor_providers(
    storage_for: Callable[[str], Storage],
) -> None:
    viewer = storage_for("viewer")
    assert viewer.api.post("/projects", {"name": "x"}).status_code == 403
    assert viewer.api.post("/storage_providers", {"name": "x"}).status_code == 403


def test_deleting_a_project_purges_it_at_once(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    count()
    assert owner.api.delete(f"/projects/{owner.project}").status_code == 204
    assert owner.api.get(f"/projects/{owner.project}/stats").status_code == 404
    assert owner.api.get("/projects/stats").json == {"results": []}
    sums = owner.api.get("/current_user/stats").json["stats_member_projects"]
    assert (sums["projects"], sums["active_bytes"]) == (0, 0)
    assert owner.api.post(f"/projects/{owner.project}/file_events", []).status_code == 404
    with app.app_context():
        for table in (models.Project, models.FileEvent, models.Counter, models.StorageMonth):
            assert db.session.scalar(select(func.count()).select_from(table)) == 0


def test_only_a_project_admin_deletes_it(
    owner: Storage, storage_for: Callable[[str], Storage], user_id: Callable[[str], str]
) -> None:
    colleague = storage_for("colleague")
    assert colleague.api.delete(f"/projects/{owner.project}").status_code == 403
    owner.give(user_id("colleague"), "file_editor")
    assert colleague.api.delete(f"/projects/{owner.project}").status_code == 403
    assert storage_for("stranger").api.delete(f"/projects/{owner.project}").status_code == 404
