"""What a kind may ask and give beyond the usual: any number of choices, files of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import BaseModel, Field
from sqlalchemy import select

from tests.conftest import add_people, form_token
from webapp import jobs
from webapp.engine.kind import Column, Context, Download, ReportKind, Result, Run, Table
from webapp.engine.models import Report
from webapp.extensions import db


class BasketParams(BaseModel):
    fruits: list[str] = Field(
        ["fig"],
        title="Fruits",
        min_length=1,
        json_schema_extra={
            "form": {
                "widget": "checkboxes",
                "choices": (("fig", "Figs"), ("pear", "Pears"), ("plum", "Plums")),
            }
        },
    )


class Basket(ReportKind):
    slug, title, Params = "basket", "Basket", BasketParams

    def run(self, params: BasketParams, run: Run, context: Context) -> Result:
        return Result({}, {"fruits": [{"fruit": fruit} for fruit in params.fruits]})

    def tables(self, head: Mapping[str, Any]) -> tuple[Table, ...]:
        return (Table("fruits", "Fruits", (Column("fruit", "Fruit"),)),)

    def downloads(self, report_id: str, head: Mapping[str, Any]) -> tuple[Download, ...]:
        return (Download("Label <b>", f"/basket/{report_id}.pdf", 2048),)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(report_kinds=(Basket(),))
    add_people(app)
    return app


def submit(browser: FlaskClient, *fruits: str) -> Any:
    data = {"csrf_token": form_token(browser), "fruits": list(fruits)}
    return browser.post("/reports/new/basket", data=data)


def checked(page: str) -> list[str]:
    return re.findall(r'name="fruits" value="(\w+)" checked', page)


def test_any_number_of_choices(app: Flask, client_for: Callable[[str], FlaskClient]) -> None:
    browser = client_for("colleague")
    assert checked(browser.get("/reports/new/basket").text) == ["fig"]
    assert submit(browser, "pear", "plum").status_code == 303
    with app.app_context():
        report = db.session.scalars(select(Report)).one()
        assert report.params == {"fruits": ["pear", "plum"]}
        again = browser.get(f"/reports/new/basket?from={report.id}").text
    assert checked(again) == ["pear", "plum"]
    refused = submit(browser)
    assert refused.status_code == 422
    assert checked(refused.text) == []


def test_a_result_names_the_files_only_its_kind_makes(
    app: Flask, client_for: Callable[[str], FlaskClient]
) -> None:
    address = submit(client_for("colleague"), "fig").headers["Location"]
    report_id = address.rpartition("/")[2]
    assert "basket/" not in client_for("viewer").get(address).text
    with app.app_context():
        jobs.run_queued(report_id)
    page = client_for("viewer").get(address).text
    assert f'<a href="/basket/{report_id}.pdf" download>Label &lt;b&gt;</a>' in page
    assert "2.0 kB" in page
