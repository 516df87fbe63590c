"""A report that can be made of a company that was just founded."""

from __future__ import annotations

from typing import Any

from flask import Flask

from webapp.engine.kind import ReportKind


def sample(app: Flask, kind: ReportKind) -> dict[str, Any]:
    """Return parameters for the stand-in's partner."""
    return {
        "partner_id": "70000001",
        "user_key": "demo-user-key",
        "user_secret": "ZGVtby1zZWNyZXQ=",
        "mode": "monthly",
        "start": "2024-01",
        "end": "2024-03",
    }
