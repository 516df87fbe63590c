"""`/ops/components`: every component of the pages in every state, for operators and for tests."""

from __future__ import annotations

from flask import render_template

from webapp.accounts import check_role
from webapp.engine.charts import chart_of
from webapp.engine.kind import Chart, Column, Table
from webapp.engine.models import STATUSES
from webapp.engine.params import FormField
from webapp.reports.blueprint import bp

CHOICES = (("a", "First"), ("b", "Second"))
FIELDS = (
    FormField("text", "Text", "text", "Some help.", required=True),
    FormField("wrong", "Text that is wrong", "text", "Some help."),
    FormField("secret", "Secret", "password"),
    FormField("month", "Month", "month"),
    FormField("day", "Day", "date"),
    FormField("number", "Number", "number"),
    FormField("select", "One of some", "select", choices=CHOICES),
    FormField("radio", "One of few", "radio", choices=CHOICES),
    FormField("checkbox", "Yes or no", "checkbox"),
    FormField("checkboxes", "Any of some", "checkboxes", choices=CHOICES),
    FormField("lines", "A text a line", "lines"),
)
VALUES = {"wrong": "x", "select": "b", "radio": "a", "checkboxes": ["a"], "month": "2026-02"}
TABLE = Table(
    "months", "Months", (Column("month", "Month", "month"), Column("users", "Users", "integer"))
)


@bp.get("/ops/components")
def show_components() -> str:
    """Show them all."""
    check_role("operator")
    users = [100, 120, None, 160, 155, 170]
    rows = [
        {"month": f"2026-0{number}", "users": one, "open": number == len(users)}
        for number, one in enumerate(users, start=1)
    ]
    drawn = [Chart("months", "month", (("Users", "users", kind),), open="open") for kind in
             ("line", "bar")]  # fmt: skip
    return render_template(
        "ops/components.html",
        statuses=STATUSES,
        fields=FIELDS,
        values={field.name: "" for field in FIELDS} | VALUES,
        errors={"wrong": "Write it as digits."},
        charts=[chart_of(TABLE, "Months", rows, chart) for chart in drawn],
    )
