"""The application of the load test as gunicorn finds it: its only kind is Steps."""

from __future__ import annotations

from tests.engine.engine_helpers import Steps
from webapp import create_app

app = create_app(report_kinds=(Steps(),))
