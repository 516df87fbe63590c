"""A report that can be made of a company that was just founded."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tests.conftest import find_scope
from webapp.engine.kind import ReportKind
from webapp.kinds.inventory import demo


def sample(app: Flask, kind: ReportKind) -> dict[str, Any]:
    """Return parameters, after making data to report on; the first of the periods is taken."""
    with app.app_context():
        scope = find_scope(app, "owner")
        demo.make_demo(scope.company_id)
        return {"period": kind.choices(scope)["period"][0][0]}
