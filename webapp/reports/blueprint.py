"""The room's one blueprint, closed to strangers; its views are in the modules beside it."""

from __future__ import annotations

from flask import Blueprint

from webapp.accounts import restrict

bp = restrict(Blueprint("reports", __name__))
