"""The report: growth by month, byte-months, rights, files; and the page of one's own storage."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openpyxl import load_workbook

from tests.kinds.project_storage.storage_helpers import Storage
from webapp import jobs
from webapp.kinds.project_storage.compute import Effects, Event, moment_us, month_rows
from webapp.kinds.project_storage.growth import in_unit
from webapp.kinds.project_storage.pages import storage_size

JANUARY = {"start": "2025-01", "end": "2025-03"}


@pytest.fixture
def report(app: Flask) -> Callable[..., str]:
    """Return a maker of finished reports; it gives the report's id."""

    def make(caller: Storage, **params: Any) -> str:
        body = {"kind": "project-storage", "params": JANUARY | params}
        answer = caller.api.post("/reports", body)
        assert answer.status_code == 202, answer.text
        with app.app_context():
            jobs.run_queued(answer.json["id"])
        return str(answer.json["id"])

    return make


def fill(owner: Storage) -> None:
    owner.send(
        [
            owner.event("upload", "old", "2024-12-31T23:59:59.999999Z", bytes=4000),
            owner.event("upload", "a", "2025-01-16T12:00:00Z", bytes=1000),
            owner.event("upload", "b", "2025-02-01T00:00:00Z", bytes=500),
            owner.event("trash", "a", "2025-02-15T00:00:00Z"),
            owner.event("purge", "a", "2025-03-01T00:00:00Z"),
        ]
    )


def test_months_show_what_was_held_and_what_grew(
    owner: Storage, report: Callable[..., str]
) -> None:
    fill(owner)
    found = owner.api.get(f"/reports/{report(owner)}/result").json
    assert found["complete"] is True
    january, february, march = found["months"]
    assert (january["active_bytes"], january["active_bytes_delta"]) == (5000, 1000)
    assert (january["active_file_versions"], january["active_file_versions_delta"]) == (2, 1)
    assert (february["active_bytes"], february["trash_bytes"]) == (4500, 1000)
    assert february["trash_file_versions_delta"] == 1
    assert (march["active_bytes"], march["trash_bytes"], march["trash_bytes_delta"]) == (
        4500,
        0,
        -1000,
    )
    # Half of January, the first half of February, the second half of February.
    assert january["active_byte_months"] == 4000 + 500
    assert february["active_byte_months"] == 4000 + 500 + 500
    assert february["trash_byte_months"] == 500
    assert (march["active_byte_months"], march["trash_byte_months"]) == (4500, 0)
    first = found["growth"][0]
    assert (first["project"], first["project_id"]) == ("Mouse", owner.project)
    assert {name: first[name] for name in january} == january


def test_a_late_event_changes_the_months_it_belongs_to(
    owner: Storage, report: Callable[..., str]
) -> None:
    fill(owner)
    report(owner)
    owner.send([owner.event("trash", "old", "2025-01-31T00:00:00Z")])
    months = owner.api.get(f"/reports/{report(owner)}/result").json["months"]
    assert [month["active_bytes"] for month in months] == [1000, 500, 500]
    assert [month["trash_bytes"] for month in months] == [4000, 5000, 4000]


def test_units_are_what_they_say(owner: Storage, report: Callable[..., str]) -> None:
    owner.send([owner.event("upload", "v", "2025-01-01T00:00:00Z", bytes=1_536_000)])
    for unit, size in {
        "kB": 1536.0,
        "KiB": 1500.0,
        "MB": 1.536,
        "MiB": 1.465,
        "B": 1536000,
    }.items():
        found = owner.api.get(f"/reports/{report(owner, unit=unit)}/result").json
        assert found["unit"] == unit
        assert found["months"][0]["active_size"] == size
        assert found["months"][0]["active_bytes"] == 1_536_000
    assert in_unit(0, "TiB") == 0.0


def test_the_picker_offers_ones_own_projects_only(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    report: Callable[..., str],
    client_for: Callable[[str], FlaskClient],
) -> None:
    other = owner.make_project("Second")
    fill(owner)
    owner.send([owner.event("upload", "x", "2025-01-05T00:00:00Z", bytes=7)], other)
    both = owner.api.get(f"/reports/{report(owner)}/result").json
    assert [row["project"] for row in both["growth"]] == ["Mouse"] * 3 + ["Second"] * 3
    assert both["months"][0]["active_bytes"] == 5007
    one = owner.api.get(f"/reports/{report(owner, project=other)}/result").json
    assert [row["active_bytes"] for row in one["growth"]] == [7, 7, 7]
    form = client_for("owner").get("/reports/new/project-storage").text
    assert "Second" in form
    assert "All my projects" in form
    assert "Second" not in client_for("colleague").get("/reports/new/project-storage").text
    colleague = storage_for("colleague")
    body = {"kind": "project-storage", "params": JANUARY | {"project": other}}
    refused = colleague.api.post("/reports", body)
    assert refused.status_code == 422
    assert "project" in refused.json["errors"]
    assert colleague.api.get(f"/reports/{report(colleague)}/result").json["growth"] == []


def test_a_report_is_its_makers_alone(
    owner: Storage, storage_for: Callable[[str], Storage], report: Callable[..., str]
) -> None:
    report_id = report(owner)
    colleague = storage_for("colleague")
    assert owner.api.get(f"/reports/{report_id}").status_code == 200
    for path in ("", "/result", "/events"):
        assert colleague.api.get(f"/reports/{report_id}{path}").status_code == 404


def test_a_project_admin_who_is_a_viewer_in_the_company_gets_the_growth_of_their_projects(
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
    report: Callable[..., str],
    client_for: Callable[[str], FlaskClient],
) -> None:
    hidden = owner.make_project("Hidden")
    fill(owner)
    owner.send([owner.event("upload", "x", "2025-01-05T00:00:00Z", bytes=7)], hidden)
    owner.give(user_id("viewer"), "project_admin")
    viewer = storage_for("viewer")
    found = viewer.api.get(f"/reports/{report(viewer)}/result").json
    assert {row["project"] for row in found["growth"]} == {"Mouse"}
    assert found["months"][0]["active_bytes"] == 5000
    # Others' projects stay theirs, by name too.
    refused = viewer.api.post(
        "/reports", {"kind": "project-storage", "params": JANUARY | {"project": hidden}}
    )
    assert refused.status_code == 422
    browser = client_for("viewer")
    assert "/reports/new/project-storage" in browser.get("/project-storage").text
    form = browser.get("/reports/new/project-storage").text
    assert "Mouse" in form
    assert "Hidden" not in form


def test_a_role_taken_away_while_the_report_waits_counts(
    app: Flask,
    owner: Storage,
    storage_for: Callable[[str], Storage],
    user_id: Callable[[str], str],
) -> None:
    colleague = storage_for("colleague")
    owner.give(user_id("colleague"), "project_viewer")
    body = {"kind": "project-storage", "params": JANUARY | {"project": owner.project}}
    report_id = colleague.api.post("/reports", body).json["id"]
    owner.api.delete(f"/projects/{owner.project}/permissions/{user_id('colleague')}")
    with app.app_context(), pytest.raises(Exception, match="no such project"):
        jobs.run_queued(report_id)
    failed = colleague.api.get(f"/reports/{report_id}").json
    assert failed["status"] == "failed"
    assert "no such project" in failed["error"]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"end": "2024-12"}, "end"),
        ({"end": "2999-01"}, "end"),
        ({"start": "x"}, "start"),
        ({"unit": "KB"}, "unit"),
        ({"project": "mouse"}, "project"),
        ({"start": "1970-01"}, "start"),
    ],
)
def test_parameters_that_cannot_be_used_say_why(
    owner: Storage, params: dict[str, str], field: str
) -> None:
    body = {"kind": "project-storage", "params": JANUARY | params}
    answer = owner.api.post("/reports", body)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]


def test_files_have_the_same_numbers(owner: Storage, report: Callable[..., str]) -> None:
    fill(owner)
    report_id = report(owner)
    result = owner.api.get(f"/reports/{report_id}/result").json
    for query, table in (("", "growth"), ("&by=months", "months")):
        text = owner.api.get(f"/reports/{report_id}/result?format=csv{query}").text
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [{name: str(value) for name, value in row.items()} for row in result[table]] == rows
    with owner.api.get(f"/reports/{report_id}/result?format=xlsx") as answer:
        sheets = load_workbook(io.BytesIO(answer.data)).sheetnames
    assert sheets == [
        "Growth by project",
        "Growth in all",
        "Projects now",
        "Providers now",
        "Growth by uploader",
        "What lies in the trash",
        "About",
    ]


def test_large_sizes_are_written_out_to_the_last_byte(
    owner: Storage, report: Callable[..., str]
) -> None:
    largest = 2**63 - 1
    owner.send([owner.event("upload", "v1", "2025-01-01T00:00:00Z", bytes=largest)])
    report_id = report(owner, unit="B")
    text = owner.api.get(f"/reports/{report_id}/result?format=csv").text
    [january, *_] = csv.DictReader(io.StringIO(text))
    for name in ("active_bytes", "active_size", "active_byte_months"):
        assert january[name] == str(largest)
    assert "e+" not in text
    with owner.api.get(f"/reports/{report_id}/result?format=xlsx") as answer:
        page = load_workbook(io.BytesIO(answer.data))["Growth by project"]
    heads = [cell.value for cell in page[1]]
    row = dict(zip(heads, (cell.value for cell in page[2]), strict=True))
    assert [row[f"Active ({unit})"] for unit in ("bytes", "B")] == [str(largest)] * 2
    assert in_unit(2**53 - 1, "kB") == 9007199254740.991


def test_the_result_page_shows_grid_figures_and_chart(
    owner: Storage, report: Callable[..., str], client_for: Callable[[str], FlaskClient]
) -> None:
    fill(owner)
    page = client_for("owner").get(f"/reports/{report(owner, unit='kB')}").text
    for text in ("Growth by project", "Growth in all", "Active (kB)", "4.50", "Full in"):
        assert text in page


def test_the_running_month_counts_up_to_now() -> None:
    effects = Effects()
    upload = datetime(2025, 6, 1, tzinfo=UTC)
    effects.add([Event(moment_us(upload), "e", "upload", 3000, 1)])
    now = moment_us(datetime(2025, 6, 11, tzinfo=UTC))
    [(month, _, _)] = effects.months
    changes = {month: effects.months[month, 1, ""]}
    (june,) = month_rows([0, 0, 0, 0], changes, [date(2025, 6, 1)], now)
    assert june == (1, 3000, 0, 0, 1, 3000, 0, 0, 1000, 0)


def test_ones_own_storage_is_shown_with_shares_trash_and_events(
    owner: Storage, count: Callable[[], int], client_for: Callable[[str], FlaskClient]
) -> None:
    tape = owner.make_provider("tape")
    hidden = owner.event("upload", "<b>", "2025-01-03T00:00:00Z")
    assert owner.send([hidden])[0]["verdict"] == "rejected"
    owner.send(
        [
            owner.event("upload", "v1", "2025-01-01T00:00:00Z", bytes=3_000_000),
            owner.event("upload", "v2", "2025-01-02T00:00:00Z", bytes=1_000_000,
                        storage_provider_id=tape),
            owner.event("upload", "v3", "2025-01-02T00:00:00Z", bytes=2000),
            owner.event("trash", "v3", "2025-01-03T00:00:00Z"),
        ]
    )  # fmt: skip
    count()
    page = client_for("owner").get("/project-storage").text
    for text in ("Mouse", "Project Admin", "75.0 %", "25.0 %", "4.00 MB", "2.00 kB", "v3", "you"):
        assert text in page, text
    empty = client_for("colleague").get("/project-storage").text
    assert "You have no role in any project yet." in empty
    assert "Mouse" not in empty


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_994, "999.99 kB"),
        (999_999, "1.00 MB"),
        (999_999_999_999, "1.00 TB"),
        (10**15, "1.00 PB"),
        (2**63 - 1, "9.22 EB"),
        (10**22, "10,000.00 EB"),
    ],
)
def test_a_size_is_never_a_thousand_of_its_unit(size_bytes: int, text: str) -> None:
    assert storage_size(size_bytes) == text


def test_a_stranger_is_sent_to_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/project-storage")
    assert answer.status_code == 303
    assert answer.location.startswith("/login")


def test_an_empty_project_has_a_page_too(
    owner: Storage, client_for: Callable[[str], FlaskClient]
) -> None:
    page = client_for("owner").get("/project-storage?page=99").text
    assert "The trash is empty." in page
    assert "No file events were received yet." in page
    assert "<script>" not in owner.make_project("<script>")
    assert "&lt;script&gt;" in client_for("owner").get("/project-storage?page=x").text
