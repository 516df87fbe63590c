"""Fixtures of this room."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.kinds.partner_use.partner_use_helpers import Maker


@pytest.fixture
def maker(app: Flask) -> Maker:
    """Return a maker of partner-use reports over the stand-in."""
    return Maker(app)
