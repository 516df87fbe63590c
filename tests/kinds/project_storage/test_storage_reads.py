"""The three reads and the deprecated one: shapes, rights, pages."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import form_token, grant
from tests.kinds.project_storage.storage_helpers import COUNTED, Storage
from webapp.accounts import find_company, find_user
from webapp.accounts.members import remove_member
from webapp.extensions import db


def test_a_project_shows_what_it_holds_in_sum_and_by_provider(
    owner: Storage, count: Callable[[], int]
) -> None:
    tape = owner.make_provider("tape")
    sent = [
        owner.event("upload", "v1", "2025-01-10T00:00:00Z", bytes=1000),
        owner.event("upload", "v2", "2025-01-10T00:00:00Z", bytes=24, storage_provider_id=tape),
        owner.event("upload", "v3", "2025-01-10T00:00:00Z", bytes=540),
        owner.event("trash", "v3", "2025-01-11T00:00:00Z"),
    ]
    assert [one["verdict"] for one in owner.send(sent)] == ["accepted"] * 4
    assert count() == 4
    answer = owner.api.get(f"/projects/{owner.project}/stats")
    assert answer.json["project"] == {"id": owner.project, "name": "Mouse"}
    assert answer.json["current_user_auth_role"] == {"id": "project_admin", "name": "Project Admin"}
    stats = answer.json["stats"]
    assert [stats[name] for name in COUNTED] == [2, 1024, 1, 540]
    assert stats["as_of"].endswith("Z")
    assert stats["by_storage_provider"] == [
        {
            "id": owner.provider,
            "name": "swift",
            "description": "swift!",
            **dict(zip(COUNTED, (1, 1000, 1, 540), strict=True)),
        },
        {
            "id": tape,
            "name": "tape",
            "description": "tape!",
            **dict(zip(COUNTED, (1, 24, 0, 0), strict=True)),
        },
    ]
    for path in ("/projects/stats", "/project/stats"):
        assert owner.api.get(path).json["results"][0]["stats"]["active_bytes"] == 1024


def test_bytes_are_64_bit_and_their_sums_go_beyond(
    owner: Storage, count: Callable[[], int]
) -> None:
    largest = 2**63 - 1
    other = owner.make_project("Other")
    for project in (owner.project, other):
        owner.send([owner.event("upload", "v", "2025-01-01T00:00:00Z", bytes=largest)], project)
    count()
    assert owner.held() == (1, largest, 0, 0)
    sums = owner.api.get("/current_user/stats").json["stats_member_projects"]
    assert sums["active_bytes"] == 2 * largest


def test_a_user_sees_only_projects_with_a_role_in_lists_and_sums(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
    count: Callable[[], int],
) -> None:
    hidden = owner.make_project("Hidden")
    for project in (owner.project, hidden):
        owner.send([owner.event("upload", "v", "2025-01-01T00:00:00Z")], project)
    count()
    colleague = storage_for("colleague")
    assert colleague.api.get("/projects/stats").json == {"results": []}
    assert colleague.api.get(f"/projects/{owner.project}/stats").status_code == 403
    assert owner.give(user_id("colleague"), "project_viewer").status_code == 200
    listed = colleague.api.get("/projects/stats").json["results"]
    assert [one["project"]["id"] for one in listed] == [owner.project]
    assert listed[0]["current_user_auth_role"]["name"] == "Project Viewer"
    assert colleague.api.get(f"/projects/{hidden}/stats").status_code == 403
    sums = colleague.api.get("/current_user/stats").json
    assert sums["stats_member_projects"]["projects"] == 1
    assert sums["stats_member_projects"]["active_bytes"] == 100
    assert sums["stats_admin_projects"]["projects"] == 0
    assert sums["stats_admin_projects"]["active_bytes"] == 0
    mine = owner.api.get("/current_user/stats").json["stats_admin_projects"]
    assert (mine["projects"], mine["active_file_versions"], mine["active_bytes"]) == (2, 2, 200)


@pytest.mark.parametrize(
    "role",
    ["project_admin", "project_viewer", "file_downloader", "file_uploader", "file_editor"],
)
def test_all_five_roles_may_view(
    role: str,
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    assert owner.give(user_id("viewer"), role).json["auth_role"]["id"] == role
    viewer = storage_for("viewer")
    assert viewer.api.get(f"/projects/{owner.project}/stats").status_code == 200


def test_unknown_projects_and_those_of_others_are_404(
    owner: Storage, storage_for: Callable[[str], Storage]
) -> None:
    stranger = storage_for("stranger")
    for project in (owner.project, str(uuid4()), "no-uuid"):
        answer = stranger.api.get(f"/projects/{project}/stats")
        assert answer.status_code == 404
        assert set(answer.json) == {"error", "code", "reason", "suggestion"}
        assert answer.json["error"] == "404"
    assert stranger.api.get("/projects/stats").json == {"results": []}


def test_anonymous_callers_get_401_in_the_envelope(owner: Storage) -> None:
    client = owner.api.client
    for path in (
        "projects/stats",
        "project/stats",
        f"projects/{owner.project}/stats",
        "current_user/stats",
        "current_user/usage",
        "storage_providers",
    ):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 401, path
        assert set(answer.json) == {"error", "code", "reason", "suggestion"}
        assert "WWW-Authenticate" in answer.headers


def test_the_list_comes_in_pages(owner: Storage) -> None:
    for number in range(4):
        owner.make_project(f"P{number}")
    answer = owner.api.get("/projects/stats?per_page=2&page=2")
    assert [one["project"]["name"] for one in answer.json["results"]] == ["P1", "P2"]
    names = ("Total", "Total-Pages", "Page", "Per-Page", "Next-Page", "Prev-Page")
    assert [answer.headers[f"X-{name}"] for name in names] == ["5", "3", "2", "2", "3", "1"]
    last = owner.api.get("/projects/stats?per_page=2&page=3")
    assert last.headers["X-Next-Page"] == ""
    plain = owner.api.get("/projects/stats")
    assert (plain.headers["X-Per-Page"], plain.headers["X-Prev-Page"]) == ("100", "")
    assert owner.api.get("/projects/stats?per_page=5000").headers["X-Per-Page"] == "1000"
    assert owner.api.get("/projects/stats?page=9").json == {"results": []}
    for wrong in ("page=0", "page=x", "per_page=-1", "page=1e3"):
        answer = owner.api.get(f"/projects/stats?{wrong}")
        assert answer.status_code == 400
        assert answer.json["suggestion"]


def test_usage_still_works_and_says_that_it_is_deprecated(
    owner: Storage, count: Callable[[], int]
) -> None:
    owner.send(
        [
            owner.event("upload", "v1", "2025-01-01T00:00:00Z"),
            owner.event("upload", "v2", "2025-01-01T00:00:00Z"),
            owner.event("trash", "v2", "2025-01-02T00:00:00Z"),
        ]
    )
    count()
    answer = owner.api.get("/current_user/usage")
    assert answer.json == {"project_count": 1, "file_count": 1, "storage_bytes": 100}
    assert answer.headers["Deprecation"].startswith("@")
    assert answer.headers["Link"] == '</api/v1/current_user/stats>; rel="successor-version"'


def test_as_of_stays_behind_while_events_wait(owner: Storage, count: Callable[[], int]) -> None:
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z")])
    waiting = owner.stats()["as_of"]
    assert owner.stats()["as_of"] == waiting
    assert owner.held() == (0, 0, 0, 0)
    assert owner.api.get("/current_user/stats").json["stats_admin_projects"]["as_of"] == waiting
    count()
    assert owner.held() == (1, 100, 0, 0)
    assert owner.stats()["as_of"] > waiting


def test_a_role_in_a_project_ends_with_the_membership(
    app: Flask,
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
    client_for: Callable[[str], FlaskClient],
) -> None:
    assert owner.give(user_id("colleague"), "project_admin").status_code == 200
    colleague = storage_for("colleague")
    colleague.project = owner.project
    browser = client_for("owner")
    path = f"/members/{user_id('colleague')}/remove"
    assert browser.post(path, data={"csrf_token": form_token(browser)}).status_code == 303
    with app.app_context():
        user, company = find_user("colleague@example.com"), find_company("Acme")
        assert user is not None
        assert company is not None
        grant(user, company, "expert")
    again = storage_for("colleague")
    assert again.api.get(f"/projects/{owner.project}/stats").status_code == 403


def test_a_project_without_an_admin_is_taken_by_an_admin_of_the_company(
    app: Flask,
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    left = storage_for("colleague").start("Left alone")
    with app.app_context():
        user = find_user("colleague@example.com")
        assert user is not None
        remove_member(user.home_company_id, user.id)
        db.session.commit()
    given = owner.give(user_id("owner"), "project_admin", left.project)
    assert given.status_code == 200
    assert owner.api.get(f"/projects/{left.project}/stats").status_code == 200


def test_the_last_admin_who_can_act_stays(
    app: Flask, owner: Storage, user_id: Callable[[str], str]
) -> None:
    assert owner.give(user_id("colleague"), "project_admin").status_code == 200
    with app.app_context():
        user = find_user("colleague@example.com")
        assert user is not None
        user.status = "NO_ACCESS"
        db.session.commit()
    assert owner.give(user_id("owner"), "project_viewer").status_code == 409
