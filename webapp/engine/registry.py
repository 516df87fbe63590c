"""The kinds this application was made with, and what they are handed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app
from sqlalchemy import ColumnElement, and_, or_

from webapp.accounts import Scope
from webapp.counters import counters
from webapp.engine.kind import Context, ReportKind
from webapp.errors import InvalidParams
from webapp.extensions import quick_redis
from webapp.jobs import Job


def kinds(app: Flask | None = None) -> Mapping[str, ReportKind]:
    """Return the kinds of the application by slug, in their order."""
    found: Mapping[str, ReportKind] = (app or current_app).extensions["report_kinds"]
    return found


def kind_named(slug: Any) -> ReportKind:
    """Return a kind by its slug; raises InvalidParams with the list of kinds."""
    kind = kinds().get(slug) if isinstance(slug, str) else None
    if kind is None:
        raise InvalidParams({"kind": f"Choose one of {', '.join(kinds())}."})
    return kind


def readable(scope: Scope) -> ColumnElement[bool]:
    """Return which reports the caller may read: the company's, as far as their kinds let them."""
    each = (or_(Job.task != slug, kind.readable(scope)) for slug, kind in kinds().items())
    return and_(Job.company_id == scope.company_id, *each)


def personal_kinds(scope: Scope) -> list[str]:
    """Return the slugs of kinds of which the caller finds only their own reports."""
    return [slug for slug, kind in kinds().items() if kind.is_personal(scope)]


def context() -> Context:
    """Return what kinds are handed: settings and the Redis client."""
    return Context(config=current_app.config, redis=quick_redis(), count=counters().add)
