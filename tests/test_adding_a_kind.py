"""A sixth kind is one folder and one line: built from `docs/adding-a-kind.md`, and used."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import webapp.kinds
from tests.conftest import Api, add_people, find_scope, form_token
from webapp import jobs
from webapp.engine.kind import ReportKind
from webapp.kinds import KINDS

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "adding-a-kind.md"
FOLDER = "webapp/kinds/working_days/"
MONTHS = {"start": "2025-01", "end": "2025-03"}


def files_of_the_guide() -> dict[str, str]:
    """Return the files the guide writes, by name."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    return {name.removeprefix(FOLDER): text for name, text in blocks if name.startswith(FOLDER)}


@pytest.fixture
def kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReportKind]:
    """Return the guide's kind, from a folder made of nothing but the guide."""
    folder = tmp_path / "working_days"
    folder.mkdir()
    for name, text in files_of_the_guide().items():
        (folder / name).write_text(text, "utf-8")
    monkeypatch.setattr(webapp.kinds, "__path__", [*webapp.kinds.__path__, str(tmp_path)])
    yield importlib.import_module("webapp.kinds.working_days").WorkingDays()
    for name in [one for one in sys.modules if one.startswith("webapp.kinds.working_days")]:
        del sys.modules[name]


@pytest.fixture
def app(kind: ReportKind, make_app: Callable[..., Flask], stand_in: Any) -> Flask:
    """Return an application with the one line added: its kind after all others."""
    app = make_app(PARTNER_API_URL=stand_in.url_template, report_kinds=(*KINDS, kind))
    add_people(app)
    return app


def test_the_guide_writes_a_whole_folder() -> None:
    assert sorted(files_of_the_guide()) == ["__init__.py", "compute.py", "kind.py"]


def test_it_is_made_by_the_page(app: Flask, client_for: Callable[[str], Any]) -> None:
    client = client_for("owner")
    form = client.get("/reports/new/working-days").text
    assert '<input type="month"' in form
    assert form.count('type="checkbox" name="weekdays"') == 7
    assert '<textarea rows="3" spellcheck="false" id="field-holidays"' in form
    sent = MONTHS | {"weekdays": ["mon", "tue"], "holidays": "2025-01-06\r\n2025-01-07\r\n"}
    sent["csrf_token"] = form_token(client, "/reports/new/working-days")
    answer = client.post("/reports/new/working-days", data=sent)
    assert answer.status_code == 303
    report_id = answer.headers["Location"].rpartition("/")[2]
    with app.app_context():
        jobs.run_queued(report_id)
    page = re.sub(r'<p[^>]* id="made-up">.*?</p>', "", client.get(f"/reports/{report_id}").text)
    assert "Working days: 2025-01 to 2025-03" in page
    assert "2025-01-06, 2025-01-07" in page
    assert "partner" not in page.lower().replace("partner use", "").replace("partner-use", "")
    # Run again: every list as it was.
    again = client.get(f"/reports/new/working-days?from={report_id}").text
    assert re.findall(r'name="weekdays" value="(\w+)" checked', again) == ["mon", "tue"]
    assert ">2025-01-06\n2025-01-07</textarea>" in again


def test_a_list_that_cannot_be_read_comes_back_as_typed(
    app: Flask, client_for: Callable[[str], Any]
) -> None:
    client = client_for("owner")
    token = form_token(client, "/reports/new/working-days")
    sent = MONTHS | {"holidays": "2025-01-06\nsoon", "csrf_token": token}
    answer = client.post("/reports/new/working-days", data=sent)
    assert answer.status_code == 422
    assert ">2025-01-06\nsoon</textarea>" in answer.text
    assert "Write the date as YYYY-MM-DD." in answer.text
    sent |= {"end": "2024-12", "holidays": ""}
    answer = client.post("/reports/new/working-days", data=sent)
    assert "The last month is before the first month." in answer.text


def test_it_costs_no_calls_to_anybody(app: Flask, client_for: Callable[[str], Any]) -> None:
    client = client_for("owner")
    token = form_token(client, "/reports/new/working-days")
    headers = {"HX-Request": "true", "X-CSRFToken": token}
    answer = client.post("/reports/new/working-days/estimate", data=MONTHS, headers=headers)
    assert "It takes about a second." in answer.text


def test_it_is_made_by_the_api(app: Flask, api_for: Callable[[str], Api]) -> None:
    api = api_for("owner")
    body = {"kind": "working-days", "params": MONTHS | {"holidays": ["2025-01-01"]}}
    report = api.post("/reports", body).json
    with app.app_context():
        jobs.run_queued(report["id"])
    result = api.get(f"/reports/{report['id']}/result").json
    assert result["kind"] == "working-days"
    assert result["complete"] is True
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result["generated_at"])
    assert result["months"] == [
        {"month": "2025-01", "working_days": 22},
        {"month": "2025-02", "working_days": 20},
        {"month": "2025-03", "working_days": 21},
    ]
    document = app.test_client().get("/api/openapi.json").json
    assert document["components"]["schemas"]["WorkingDaysParams"]["properties"]["weekdays"]


def test_it_is_made_by_the_command_line(app: Flask) -> None:
    with app.app_context():
        email = find_scope(app, "owner").email
    command = re.search(r"`flask (report working-days [^`]+)`", GUIDE.read_text("utf-8"))
    assert command
    made = app.test_cli_runner().invoke(args=[*shlex.split(command[1]), "--user", email])
    assert made.exit_code == 0, made.stderr
    assert made.stdout.splitlines() == [
        "month,working_days",
        "2025-01,21",
        "2025-02,20",
        "2025-03,21",
    ]
