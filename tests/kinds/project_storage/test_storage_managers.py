"""Managers' questions: the largest, who grows them, what the trash holds, quotas; kept by page."""

from __future__ import annotations

import csv
import io
from collections import Counter as Tally
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import form_token
from tests.kinds.project_storage.storage_helpers import Storage
from webapp import jobs
from webapp.kinds.project_storage import overview
from webapp.lib.moments import rfc3339, utcnow
from webapp.lib.months import current_month, month_end, month_text, next_month

MB = 1_000_000


def ago(days: int) -> str:
    return rfc3339(utcnow() - timedelta(days=days))


@pytest.fixture
def filled(owner: Storage, count: Callable[[], int]) -> Storage:
    """Return the owner with two projects: Mouse, which grows, and Rat, which lies in the trash."""
    tape = owner.make_provider("tape")
    rat = owner.make_project("Rat")
    owner.extra |= {"rat": rat, "tape": tape}
    owner.send(
        [
            owner.event("upload", "old", ago(500), bytes=60 * MB, uploader="ada"),
            owner.event("upload", "new", ago(1), bytes=24 * MB, uploader="mia"),
        ]
    )
    owner.send(
        [
            owner.event("upload", "r", ago(500), bytes=7 * MB, storage_provider_id=tape),
            owner.event("trash", "r", ago(200)),
        ],
        rat,
    )
    count()
    return owner


def quota(caller: Storage, quota_bytes: int | None, project: str = "") -> Any:
    path = f"/api/v1/projects/{project or caller.project}"
    return caller.api.client.patch(path, json={"quota_bytes": quota_bytes}, auth=caller.api.auth)


def result_of(app: Flask, caller: Storage, **params: Any) -> Any:
    span = {
        "start": month_text(next_month(current_month(), -11)),
        "end": month_text(current_month()),
    }
    made = caller.api.post("/reports", {"kind": "project-storage", "params": span | params})
    assert made.status_code == 202, made.text
    with app.app_context():
        jobs.run_queued(made.json["id"])
    return caller.api.get(f"/reports/{made.json['id']}/result").json


def full_in(months: int, times: float) -> str:
    """Return the month that is so many times as far from now as the start of one before it."""
    now = utcnow()
    return f"{now + (now - month_end(next_month(current_month(), -months - 1))) * times:%Y-%m}"


def test_a_report_answers_what_managers_ask(app: Flask, filled: Storage) -> None:
    assert quota(filled, 100 * MB).json["quota_bytes"] == 100 * MB
    found = result_of(app, filled, unit="MB")
    mouse, rat = found["projects"]
    assert (mouse["project"], mouse["held_size"], mouse["grown_size"]) == ("Mouse", 84.0, 24.0)
    # 16 MB are left, and 24 grew in the eleven months before this one and the days since.
    assert (mouse["quota_used"], mouse["full_in"]) == (84.0, full_in(11, 16 / 24))
    assert (rat["trash_size"], rat["quota_used"], rat["full_in"]) == (7.0, None, None)
    assert rat["quota_size"] is None
    since = (utcnow() - timedelta(days=200)).strftime("%Y-%m")
    assert rat["oldest_trash"] == since
    [lying] = found["trash"]
    assert (lying["project"], lying["since"], lying["trash_size"]) == ("Rat", since, 7.0)
    assert lying["months"] in {6, 7}
    assert [(one["provider"], one["grown_size"]) for one in found["providers"]] == [
        ("swift", 24.0),
        ("tape", 0.0),
    ]
    assert found["uploaders"][0]["uploader"] == "mia"
    assert found["warnings"] == [
        f"Mouse uses 84 % of its quota and is full in {mouse['full_in']} at this pace."
    ]
    assert found["frees"] == 7 * MB


def test_the_pace_is_that_since_a_project_is_there(
    app: Flask, owner: Storage, count: Callable[[], int]
) -> None:
    """Not of a year in which it was not; and what it began with is no growth."""

    def began(months: int) -> str:
        return f"{next_month(current_month(), -months)}T00:00:00Z"

    young, new = owner.make_project("Young"), owner.make_project("New")
    sizes = ((2, 50), (1, 12), (0, 8))
    owner.send(
        [
            owner.event("upload", f"v{months}", began(months), bytes=size * MB)
            for months, size in sizes
        ],
        young,
    )
    owner.send([owner.event("upload", "all", began(0), bytes=90 * MB)], new)
    for project in (young, new):
        assert quota(owner, 100 * MB, project).status_code == 200
    count()
    found = {one["project"]: one for one in result_of(app, owner)["projects"]}
    assert found["Young"]["full_in"] == full_in(1, 30 / 20)
    assert found["Young"]["grown_bytes"] == 70 * MB
    assert (found["New"]["quota_used"], found["New"]["full_in"]) == (90.0, None)


@pytest.mark.parametrize(("day", "full"), [(4, None), (16, "2025-08"), (30, "2025-09")])
def test_the_running_month_tells_the_pace_of_its_days(
    monkeypatch: pytest.MonkeyPatch, day: int, full: str | None
) -> None:
    """Ten are left where five grew in it; the first days of a month tell nothing."""
    monkeypatch.setattr(overview, "utcnow", lambda: datetime(2025, 7, day, tzinfo=UTC))
    july = date(2025, 7, 1)
    found = overview._quota(90, 100, Tally({july: 5}), [july])
    assert found["full_in"] == full


def test_only_an_admin_of_the_company_sees_all_projects_and_sets_quotas(
    app: Flask,
    filled: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    colleague = storage_for("colleague")
    theirs = colleague.make_project("Cat")
    assert quota(colleague, 1, theirs).status_code == 403
    body = {
        "kind": "project-storage",
        "params": {"start": "2025-01", "end": "2025-01", "whose": "company"},
    }
    assert list(colleague.api.post("/reports", body).json["errors"]) == ["whose"]
    client, auth = filled.api.client, filled.api.auth
    assert (
        client.put(
            "/api/v1/storage_quota", json={"quota_bytes": 1}, auth=colleague.api.auth
        ).status_code
        == 403
    )
    assert (
        client.put("/api/v1/storage_quota", json={"quota_bytes": 91 * MB}, auth=auth).status_code
        == 200
    )
    assert colleague.api.get("/storage_quota").json == {"quota_bytes": 91 * MB}
    assert {one["project"] for one in result_of(app, filled)["projects"]} == {"Mouse", "Rat"}
    found = result_of(app, filled, whose="company")
    assert {one["project"] for one in found["projects"]} == {"Mouse", "Rat", "Cat"}
    assert found["company"]["quota_used"] == 100.0
    assert found["warnings"][0].startswith("The company uses 100 % of its quota: it is full.")
    assert (
        result_of(app, filled, project=theirs, whose="company")["projects"][0]["project"] == "Cat"
    )


def test_the_page_sorts_warns_and_downloads(
    filled: Storage, client_for: Callable[[str], FlaskClient], storage_for: Callable[[str], Storage]
) -> None:
    storage_for("colleague").make_project("Cat")
    quota(filled, 90 * MB)
    browser = client_for("owner")
    page = browser.get("/project-storage").text
    for words in (
        "Mouse uses 93 % of its quota",
        "84.00 MB",
        "+24.00 MB",
        "mia",
        "91.00 MB",
        "you",
    ):
        assert words in page, words
    assert "Cat" not in page
    assert page.index(">Mouse<") < page.index(">Rat<")
    by_trash = browser.get("/project-storage?sort=trash_bytes").text
    assert by_trash.index(">Rat<") < by_trash.index(">Mouse<")
    assert "Cat" in browser.get("/project-storage?whose=company").text
    assert "Rat" not in client_for("colleague").get("/project-storage?whose=company").text
    file = browser.get("/project-storage/projects.csv?sort=trash_bytes")
    rows = list(csv.DictReader(io.StringIO(file.data.decode("utf-8-sig"))))
    assert [(row["project"], row["trash_bytes"]) for row in rows] == [
        ("Rat", str(7 * MB)),
        ("Mouse", "0"),
    ]


def test_projects_providers_and_roles_are_kept_by_page(
    filled: Storage, client_for: Callable[[str], FlaskClient], user_id: Callable[[str], str]
) -> None:
    browser = client_for("owner")
    token = {"csrf_token": form_token(browser)}
    root = "/project-storage"

    def post(path: str, **form: str) -> Any:
        return browser.post(f"{root}{path}", data=token | form)

    assert browser.get(f"{root}/projects/new").status_code == 200
    taken = post("/projects", name="MOUSE")
    assert (taken.status_code, "of this name already" in taken.text, "MOUSE" in taken.text) == (
        409,
        True,
        True,
    )
    assert post("/projects", name="Dog", description="Dogs").status_code == 303
    assert "Dog" in browser.get(root).text
    project = f"/projects/{filled.project}"
    assert post(project, name="Mice", quota_gb="0,1", retired="true").status_code == 303
    page = browser.get(f"{root}{project}").text
    for words in ("Mice", "Retired since", "100.00 MB", "Every event was counted."):
        assert words in page, words
    # The form says it to the byte, so that saving it again changes nothing.
    for size, shown in ((1, "0.000000001"), (2**63 - 1, "9223372036.854775807")):
        quota(filled, size)
        assert f'value="{shown}"' in browser.get(f"{root}{project}").text
    for much in ("much", "-1", "NaN", "1e30", "1,500"):
        wrong = post(project, name="Mice", quota_gb=much)
        assert (wrong.status_code, "Write gigabytes" in wrong.text) == (422, True), much
    given = post(f"{project}/roles", user_id=user_id("colleague"), role="file_editor")
    assert given.status_code == 303
    assert "File Editor" in client_for("colleague").get(root).text
    assert post(f"{project}/roles", user_id=user_id("colleague"), role="").status_code == 303
    for nobody in ("no ID", "\x00", ""):
        assert post(f"{project}/roles", user_id=nobody, role="file_editor").status_code == 404
    last = post(f"{project}/roles", user_id=user_id("owner"), role="")
    assert (last.status_code, "last admin" in last.text) == (409, True)
    assert post("/providers", name="glacier", in_place="true").status_code == 303
    assert "glacier" in browser.get(f"{root}/providers").text
    assert post(f"/providers/{filled.provider}", name="Swift 2", retired="true").status_code == 303
    assert "Swift 2 (retired)" in browser.get(f"{root}/providers").text
    # A change that is refused stays in its own form, and speaks of what the page has.
    taken = post(f"/providers/{filled.provider}", name="GLACIER", in_place="true")
    assert (taken.status_code, taken.text.count("<details open>")) == (409, 1)
    assert 'id="name-1" name="name" maxlength="255" required value="GLACIER"' in taken.text
    assert taken.text.count('value="GLACIER"') == 1
    assert "Tick the box" in taken.text
    assert 'name="retired" value="true" checked' not in taken.text
    # Of two that have one name on purpose, each may be changed without saying so again.
    assert post("/providers", name="glacier", same_name="true").status_code == 303
    glacier = filled.api.get("/storage_providers").json["results"][-1]["id"]
    assert post(f"/providers/{glacier}", name="glacier", description="cold").status_code == 303
    assert post("/quota", quota_gb="1").status_code == 303
    assert post(f"{project}/delete").status_code == 303
    assert browser.get(f"{root}{project}").status_code == 404
    viewer = client_for("viewer")
    token = {"csrf_token": form_token(viewer)}
    for path in ("/projects", "/providers", "/quota"):
        assert viewer.post(f"{root}{path}", data=token | {"name": "x"}).status_code == 403
    assert viewer.get(f"{root}/projects/{filled.extra['rat']}").status_code == 403
