"""What every kind of report owes its readers; walks KINDS, so that a new one is held to it too."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.cli import ScriptInfo
from flask.testing import FlaskClient

from tests.conftest import Api, find_scope
from webapp import cli, jobs
from webapp.engine import export, service
from webapp.engine.kind import ReportKind
from webapp.engine.models import Report
from webapp.engine.params import form_fields, json_schema
from webapp.engine.registry import kinds
from webapp.engine.results import ReadResult
from webapp.errors import InvalidParams, ReportError
from webapp.extensions import db
from webapp.kinds import KINDS
from webapp.lib.months import current_month, month_text

ROOT = Path(__file__).resolve().parents[1]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)


def sample(app: Flask, kind: ReportKind) -> dict[str, Any]:
    """Return parameters of a report that can be made of an installation that was just made.

    Where a span of months does not do, `tests/kinds/<folder>/sample.py` says what does.
    """
    folder = kind.slug.replace("-", "_")
    if (ROOT / "tests" / "kinds" / folder / "sample.py").exists():
        own = importlib.import_module(f"tests.kinds.{folder}.sample")
        return dict(own.sample(app, kind))
    return {"start": "2024-01", "end": "2024-03"}


@every_kind
def test_a_report_of_one_month_names_it_once(kind: ReportKind) -> None:
    others = {"partner_id": "1", "mode": "monthly", "method": "pool", "group_by": "month"}
    named = kind.describe(others | {"start": "2025-03", "end": "2025-03", "name": "Yearly"})
    assert named.count("2025-03") <= 1


@every_kind
def test_a_demo_is_filled_once(app: Flask, kind: ReportKind) -> None:
    """What `make run` shows of a kind stays as it is when everything is started again."""
    with app.app_context():
        scope = find_scope(app, "owner")
        kind.seed_demo(scope.company_id)
        before = row_counts()
        kind.seed_demo(scope.company_id)
        assert row_counts() == before


def row_counts() -> dict[str, int]:
    tables = db.metadata.sorted_tables
    counts = ((table.name, sa.select(sa.func.count()).select_from(table)) for table in tables)
    return {name: db.session.scalar(query) or 0 for name, query in counts}


def made(app: Flask, kind: ReportKind) -> str:
    """Make and run a report of the owner; return its id."""
    given = sample(app, kind)
    with app.app_context():
        scope = find_scope(app, "owner")
        report = service.start_report(scope, kind.slug, given, enqueue=False).report
        with suppress(ReportError):
            jobs.run_queued(report.id)
        report = db.session.get_one(Report, report.id)
        db.session.refresh(report)
        assert report.status == "done", report.error
        return report.id


MONTH = month_text(current_month())
OF_DEMO: dict[str, dict[str, Any]] = {
    "label-revenue": {"start": "2025-03", "end": "2025-03"},
    "project-storage": {"start": MONTH, "end": MONTH, "whose": "company"},
    "session-activity": {},
}


@pytest.mark.parametrize("slug", OF_DEMO)
def test_a_row_opens_to_its_own_course_and_its_form_reaches_back_to_the_first_data(
    app: Flask, client_for: Callable[[str], FlaskClient], slug: str
) -> None:
    with app.app_context():
        scope = find_scope(app, "owner")
        kinds()[slug].seed_demo(scope.company_id)
        report = service.start_report(scope, slug, OF_DEMO[slug], enqueue=False).report
        jobs.run_queued(report.id)
        report_id = report.id
    client = client_for("owner")
    page = client.get(f"/reports/{report_id}").text
    found = re.search(rf'href="(/reports/{report_id}/rows/\w+/\d+)">([^<]+)</a>', page)
    assert found
    opened = client.get(found[1]).text
    assert f"<h1>{found[2]}</h1>" in opened
    assert opened.count('<th scope="row">') >= 1
    assert "data-chart=" in opened
    assert client.get(f"/reports/{report_id}/rows/clocks/999999").status_code == 404
    assert "Since the beginning" in client.get(f"/reports/new/{slug}").text


@every_kind
def test_its_slug_is_its_folder_and_its_address(kind: ReportKind) -> None:
    folder = ROOT / "webapp" / "kinds" / kind.slug.replace("-", "_")
    assert folder.is_dir()
    assert type(kind).__module__.startswith(f"webapp.kinds.{folder.name}")
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.slug)
    assert kind.title
    assert kind.description


@every_kind
def test_its_parameters_are_described_as_json_schema(kind: ReportKind) -> None:
    schema = json_schema(kind)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(kind.Params.model_fields)
    assert kind.retry_params <= set(schema["properties"])
    json.dumps(schema)


@every_kind
def test_each_option_of_its_command_means_one_thing(app: Flask, kind: ReportKind) -> None:
    with app.app_context():
        context = click.Context(cli.report, obj=ScriptInfo(create_app=lambda: app))
        command = cli.report.get_command(context, kind.slug)
    assert command is not None
    names = [option for param in command.params for option in param.opts]
    assert len(names) == len(set(names))
    params = json_schema(kind)["properties"]
    assert {f"param_{name}" for name in params} <= {param.name for param in command.params}


@every_kind
def test_its_form_has_every_field_with_a_label(
    app: Flask, client_for: Callable[[str], FlaskClient], kind: ReportKind
) -> None:
    sample(app, kind)
    page = client_for("owner").get(f"/reports/new/{kind.slug}")
    assert page.status_code == 200
    with app.app_context():
        fields = form_fields(kind, find_scope(app, "owner"))
    for field in fields:
        assert f'name="{field.name}"' in page.text, field.name
    # A span that can be sent as it is: nobody types months to see what a report is like.
    months = re.findall(r'<input type="month"[^>]* value="([^"]*)"', page.text)
    assert len(months) == sum(field.widget == "month" for field in fields)
    assert months == sorted(filter(None, months))


@every_kind
def test_a_bad_form_comes_back_with_its_sentence(
    client_for: Callable[[str], FlaskClient], kind: ReportKind
) -> None:
    client = client_for("owner")
    page = client.get(f"/reports/new/{kind.slug}")
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page.text)
    assert token
    bad = {"start": "2024-13", "period": "no id", "csrf_token": token[1]}
    bad |= {"mode": "monthly", "range": "months"}
    answer = client.post(f"/reports/new/{kind.slug}", data=bad)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text or "problem" in answer.text


@every_kind
def test_unknown_parameters_are_refused(app: Flask, kind: ReportKind) -> None:
    with app.app_context(), pytest.raises(InvalidParams) as caught:
        service.start_report(find_scope(app, "owner"), kind.slug, {"colour": "red"})
    assert "colour" in caught.value.errors


@every_kind
def test_its_rows_have_the_columns_it_names(app: Flask, kind: ReportKind) -> None:
    report_id = made(app, kind)
    with app.app_context():
        result = ReadResult(db.session.get_one(Report, report_id))
        tables = kind.tables(result.head)
        assert len({table.name for table in tables}) == len(tables) > 0
        for table in tables:
            for row in result.rows(table.name):
                shown = kind.grid_row(table.name, row, result.head)
                missing = {column.name for column in table.columns} - set(shown)
                assert not missing, (table.name, missing)
        for sheet in kind.sheets(result):
            names = [column.name for column in sheet.columns]
            assert len(set(names)) == len(names)
            for row in sheet.rows:
                assert set(row) & set(names)
        for chart in kind.charts(result.head):
            columns = {column.name for table in tables if table.name == chart.table
                       for column in table.columns}  # fmt: skip
            assert {chart.x, *(view[1] for view in chart.views)} <= columns
        for figure in kind.figures(result.head):
            assert figure.label


@every_kind
def test_its_csv_json_and_xlsx_open_and_agree(
    app: Flask, api_for: Callable[[str], Api], kind: ReportKind
) -> None:
    path = f"/reports/{made(app, kind)}/result"
    api = api_for("owner")
    document = json.loads(api.get(path).data)
    assert document["kind"] == kind.slug
    table = list(csv.reader(io.StringIO(api.get(f"{path}?format=csv").text, newline="")))
    book = openpyxl.load_workbook(io.BytesIO(api.get(f"{path}?format=xlsx").data))
    page = list(book.worksheets[0].iter_rows(values_only=True))
    assert len(table[0]) == len(page[0]) > 1
    # Without rows the autofilter leaves one empty line.
    filled = [row for row in page[1:] if any(cell is not None for cell in row)]
    assert len(table) - 1 == len(filled)
    with app.app_context():
        head = db.session.get_one(Report, path.split("/")[2]).head or {}
        assert all(isinstance(document[one.name], list) for one in kind.tables(head))
        assert book.worksheets[0].freeze_panes == "A2"


@every_kind
def test_its_result_page_and_downloads_are_the_companys_alone(
    app: Flask, client_for: Callable[[str], FlaskClient], kind: ReportKind
) -> None:
    report_id = made(app, kind)
    pages = [f"/reports/{report_id}", *(f"/reports/{report_id}.{fmt}" for fmt in export.FORMATS)]
    others = 404 if kind.personal else 200
    people = {"owner": 200, "colleague": others, "viewer": others, "stranger": 404}
    for who, status in people.items():
        client = client_for(who)
        for page in pages:
            answer = client.get(page)
            answer.get_data()
            assert answer.status_code == status, (who, page)


@pytest.mark.once
@pytest.mark.parametrize("who", ["viewer", "colleague", "owner"])
def test_no_link_leads_to_a_refusal(
    app: Flask, client_for: Callable[[str], FlaskClient], api_for: Callable[[str], Api], who: str
) -> None:
    """From page to page as the demo shows them: what is not yours to do is not offered."""
    with app.app_context():
        scope = find_scope(app, "owner")
        for kind in KINDS:
            kind.seed_demo(scope.company_id)
    params = {"start": "last_closed", "end": "last_closed"}
    saved = {"name": "Hours", "kind": "session-activity", "params": params}
    assert api_for("owner").post("/definitions", saved).status_code == 201
    client, paths, seen, refused = client_for(who), [("/", "")], set(), []
    while paths:
        path, found_on = paths.pop()
        # One of each page is enough, whatever it is of.
        page = re.sub(r"=[^&]*|[0-9a-f-]{36}|[0-9]{4}-[0-9]{2}", "", path)
        if page in seen or len(seen) > 150:
            continue
        seen.add(page)
        answer = client.get(path)
        answer.get_data()
        if answer.status_code >= 400:
            refused.append((answer.status_code, path, found_on))
        elif answer.mimetype == "text/html":
            links = re.findall(r'href="(/[^"#]*)', answer.text)
            paths += [(link.replace("&amp;", "&"), path) for link in links]
    assert refused == []
    assert len(seen) > 40


@every_kind
def test_a_viewer_cannot_make_one_unless_the_kind_lets_them(app: Flask, kind: ReportKind) -> None:
    given = sample(app, kind)
    with app.app_context():
        scope = find_scope(app, "viewer")
        with suppress(ReportError):
            service.start_report(scope, kind.slug, given, enqueue=False)
        count = db.session.query(Report).count()
        assert count == (1 if scope.may(kind.run_role) else 0)


@every_kind
def test_what_is_stored_of_its_params_holds_no_secret(app: Flask, kind: ReportKind) -> None:
    given = sample(app, kind)
    with app.app_context():
        scope = find_scope(app, "owner")
        report = service.start_report(scope, kind.slug, given, enqueue=False).report
        assert not kind.secret_params & set(report.params)
        assert len(report.label) <= 200


@every_kind
def test_its_tables_are_named_after_it_and_belong_to_a_company(kind: ReportKind) -> None:
    own = kind.slug.replace("-", "_")
    shared = {"label_revenue": "label_revenue"}.get(own, own)
    tables = [table for table in db.metadata.sorted_tables if _room(table.name) == own]
    for table in tables:
        assert table.name.startswith(shared)


def _room(table: str) -> str:
    """Return the folder whose module defines a table."""
    for mapper in db.Model.registry.mappers:  # type: ignore[attr-defined]
        if getattr(mapper.local_table, "name", None) == table:
            parts = mapper.class_.__module__.split(".")
            return parts[2] if parts[1] == "kinds" else parts[1]
    return ""
