"""Where events come from: keys that only send, baselines, stores that overwrite; and the lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.kinds.project_storage.storage_helpers import Storage, project_key
from webapp import jobs
from webapp.accounts import create_key, find_user
from webapp.extensions import db
from webapp.kinds.project_storage import counting
from webapp.kinds.project_storage.models import FileEvent, StorageMonth

NEWLY = "2025-03-01T12:00:00Z"


def feeder_of(app: Flask, owner: Storage, email: str) -> Storage:
    """Return a caller by a key that only sends, of somebody who is in no project."""
    with app.app_context():
        user = find_user(email)
        assert user is not None
        key, secret = create_key(user, "store", scope="send")
        auth = (key.key_id, secret)
    return Storage(Api(owner.api.client, auth), owner.provider, owner.project)


def test_a_key_that_only_sends_feeds_every_project_and_reads_none(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    feeder = feeder_of(app, owner, "colleague@example.com")
    sent = feeder.event("upload", "v", NEWLY, uploader="mia")
    sent = [sent, feeder.event("trash", "v", "2025-03-02T00:00:00Z")]
    assert [one["verdict"] for one in feeder.send(sent)] == ["accepted"] * 2
    count()
    assert owner.held() == (0, 0, 1, 100)
    for path in (f"/projects/{owner.project}/stats", "/projects", "/current_user"):
        assert feeder.api.get(path).status_code == 403
    assert feeder.api.post("/projects", {"name": "x"}).status_code == 403
    with app.app_context():
        assert db.session.scalars(db.select(FileEvent.uploader)).all() == ["mia", ""]
    viewer = feeder_of(app, owner, "viewer@example.com")
    assert viewer.api.post(f"/projects/{owner.project}/file_events", []).status_code == 403
    stranger = feeder_of(app, owner, "stranger@example.com")
    assert stranger.api.post(f"/projects/{owner.project}/file_events", []).status_code == 404


CSV = """File version;Size;Provider;Uploaded;Owner
v1;1000;SWIFT;2025-01-02T03:04:05Z;mia
v2;24;swift;2025-02-01T00:00:00Z;
v3;many;swift;2025-02-01T00:00:00Z;
v4;7;nowhere;2025-02-01T00:00:00Z;
"""
LINES = """{"file_version_id": "v1", "bytes": 1000, "at": "2025-01-02T03:04:05Z", "uploader": "mia"}

{"file_version_id": "v2", "bytes": 24, "at": "2025-02-01T00:00:00Z"}
{"file_version_id": "v3", "bytes": "many", "at": "2025-02-01T00:00:00Z"}
[1]
"""


def send_baseline(caller: Storage, text: str, media_type: str) -> Any:
    return caller.api.client.post(
        f"/api/v1/projects/{caller.project}/baseline",
        data=text.encode(),
        content_type=media_type,
        auth=caller.api.auth,
    )


@pytest.mark.parametrize(
    ("text", "media_type", "lines"),
    [
        (CSV, "text/csv", [4, 5]),
        (LINES, "application/x-ndjson", [4, 5]),
        ("version,bytes\nv1,1000\nv2,24\nv3,many\nv2,24\n,7\n", "text/csv", [4, 6]),
    ],
)
def test_a_baseline_is_what_stands_and_comes_twice_without_harm(
    owner: Storage, count: Callable[[], int], text: str, media_type: str, lines: list[int]
) -> None:
    answer = send_baseline(owner, text, media_type)
    assert answer.status_code == 202, answer.text
    assert (answer.json["accepted"], answer.json["rejected"]) == (2, 2)
    assert [problem["line"] for problem in answer.json["problems"]] == lines
    count()
    assert owner.held() == (2, 1024, 0, 0)
    again = send_baseline(owner, text, media_type).json
    assert (again["accepted"], again["rejected"]) == (0, 2)
    assert again["duplicate"] == 2 + answer.json["duplicate"]
    count()
    assert owner.held() == (2, 1024, 0, 0)


def test_a_baseline_that_cannot_be_read_says_why(owner: Storage) -> None:
    for text, media_type, status, words in (
        ("a;b\n1;2\n", "text/csv", 400, "column"),
        ('{"file_version_id": \n', "application/x-ndjson", 400, "Line 1"),
        ("x", "image/png", 415, "text/csv"),
    ):
        answer = send_baseline(owner, text, media_type)
        assert (answer.status_code, words in answer.json["reason"]) == (status, True), answer.text


def test_a_baseline_names_a_provider_that_only_one_is(owner: Storage) -> None:
    text = f"version,bytes,provider\nv1,1,SWIFT\nv2,2,swifd\nv3,3,{owner.provider}\n"
    said = send_baseline(owner, text, "text/csv").json
    assert (said["accepted"], [problem["line"] for problem in said["problems"]]) == (2, [3])
    assert "a name that only one has" in said["problems"][0]["reason"]
    owner.make_provider("Swift")
    said = send_baseline(owner, text.replace("\nv", "\nw"), "text/csv").json
    assert (said["accepted"], [problem["line"] for problem in said["problems"]]) == (1, [2, 3])


def test_where_a_store_overwrites_in_place_a_size_counts_from_its_upload_on(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    def sizes() -> dict[date, int]:
        with app.app_context():
            return {
                row.month: row.active_bytes for row in db.session.scalars(db.select(StorageMonth))
            }

    owner.send(
        [
            owner.event("upload", "v", "2025-01-01T00:00:00Z", bytes=100),
            owner.event("upload", "v", "2025-03-01T00:00:00Z", bytes=700),
        ]
    )
    count()
    assert owner.held() == (1, 700, 0, 0)
    assert sizes() == {date(2025, 1, 1): 700}
    path = f"/api/v1/storage_providers/{owner.provider}"
    changed = owner.api.client.patch(path, json={"in_place": True}, auth=owner.api.auth)
    assert changed.json["in_place"] is True
    with app.app_context():
        waiting = db.select(jobs.Job.id).where(jobs.Job.task == "project-storage-recount")
        jobs.run_queued(db.session.scalar(waiting))
    assert sizes() == {date(2025, 1, 1): 100, date(2025, 3, 1): 600}
    assert owner.held() == (1, 700, 0, 0)
    with app.app_context():
        assert counting.recount(project_key(owner.project), repair=False) == []


def test_what_has_no_place_is_counted_and_listed_until_it_has(
    owner: Storage, count: Callable[[], int]
) -> None:
    owner.send(
        [
            owner.event("trash", "never", "2025-01-01T00:00:00Z"),
            owner.event("upload", "gone", "2025-01-01T00:00:00Z"),
            owner.event("purge", "gone", "2025-01-02T00:00:00Z"),
            owner.event("upload", "gone", "2025-01-03T00:00:00Z", bytes=9),
            owner.event("trash", "early", "2025-01-01T00:00:00Z"),
            owner.event("upload", "early", "2025-01-02T00:00:00Z", bytes=7),
        ]
    )
    count()
    path = f"/projects/{owner.project}/file_events/not_placed"
    found = owner.api.get(path)
    assert [(one["file_version_id"], one["reason"]) for one in found.json["results"]] == [
        ("early", "came later"),
        ("gone", "was purged"),
        ("never", "never came"),
    ]
    assert found.headers["X-Total"] == "3"
    assert owner.stats()["not_placed"] == 3
    assert owner.held() == (1, 7, 0, 0)
    owner.send([owner.event("upload", "never", "2024-12-31T00:00:00Z")])
    count()
    assert [one["reason"] for one in owner.api.get(path).json["results"]] == [
        "came later",
        "was purged",
    ]
    assert owner.held() == (1, 7, 1, 100)


def test_what_is_retired_takes_nothing_more_and_goes_on_to_count(
    owner: Storage, count: Callable[[], int]
) -> None:
    owner.send([owner.event("upload", "v", NEWLY)])
    count()
    client, auth = owner.api.client, owner.api.auth
    provider = f"/api/v1/storage_providers/{owner.provider}"
    assert client.patch(provider, json={"retired": True}, auth=auth).json["is_deprecated"] is True
    [refused] = owner.send([owner.event("upload", "w", NEWLY)])
    assert "retired" in refused["reason"]
    assert owner.send([owner.event("trash", "v", NEWLY)])[0]["verdict"] == "accepted"
    client.patch(provider, json={"retired": False}, auth=auth)
    assert owner.send([owner.event("upload", "w", NEWLY)])[0]["verdict"] == "accepted"
    project = f"/api/v1/projects/{owner.project}"
    assert client.patch(project, json={"retired": True}, auth=auth).json["retired"] is True
    assert owner.api.post(f"/projects/{owner.project}/file_events", []).status_code == 409
    count()
    assert owner.held()[0] == 1


def test_no_two_have_one_name_by_accident(
    owner: Storage, storage_for: Callable[..., Storage]
) -> None:
    for path, name in (("/projects", "mouse"), ("/storage_providers", "Swift")):
        taken = owner.api.post(path, {"name": name})
        assert (taken.status_code, taken.json["code"]) == (409, "conflict")
        assert owner.api.post(path, {"name": name, "same_name": True}).status_code == 201
    other = owner.make_project("Other")
    client, auth = owner.api.client, owner.api.auth
    assert (
        client.patch(f"/api/v1/projects/{other}", json={"name": "MOUSE"}, auth=auth).status_code
        == 409
    )
    renamed = client.put(f"/api/v1/projects/{other}", json={"name": "Rat"}, auth=auth)
    assert (renamed.json["name"], renamed.json["description"]) == ("Rat", "")
    assert storage_for("stranger").api.post("/projects", {"name": "Mouse"}).status_code == 201
