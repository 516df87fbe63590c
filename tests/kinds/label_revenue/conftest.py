"""A company with the sample loaded, and a program that speaks the original API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from label_revenue_files import FILES, SAMPLE

from webapp import jobs
from webapp.accounts import Scope
from webapp.engine import service
from webapp.extensions import db
from webapp.kinds.label_revenue import loads
from webapp.kinds.label_revenue.loads import Loaded
from webapp.kinds.label_revenue.rows import Options, Source


@pytest.fixture
def load_texts(app: Flask, scope: Scope, tmp_path: Path) -> Callable[..., Loaded]:
    """Return a loader of texts: `load_texts(streams="date;…", skip_bad=True)`."""

    def load(company_id: str | None = None, **given: Any) -> Loaded:
        sources: Any = {}
        for role in ("users", "streams", "tracks"):
            content = given.pop(role, None)
            if content is None:
                continue
            path = tmp_path / f"{role}-{len(list(tmp_path.iterdir()))}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            sources[role] = Source(path, FILES[role])
        with app.app_context():
            loaded = loads.load(company_id or scope.company_id, sources, Options(**given))
            db.session.refresh(loaded.batch)
            db.session.expunge(loaded.batch)
            return loaded

    return load


@pytest.fixture
def sample(load_texts: Callable[..., Loaded]) -> str:
    """Load the sample for the owner's company; return the batch's ID."""
    texts = {role: (SAMPLE / name).read_bytes() for role, name in FILES.items()}
    loaded = load_texts(**texts)
    return loaded.batch.id


@pytest.fixture
def run_report(app: Flask, scope: Scope) -> Callable[..., str]:
    def run(**params: Any) -> str:
        with app.app_context():
            started = service.start_report(scope, "label-revenue", params, enqueue=False)
            report_id = started.report.id
            jobs.run_queued(report_id)
            return report_id

    return run
