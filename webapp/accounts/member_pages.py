"""Pages of a company's admin: members, invitations, the audit log; and the invitation's own page."""

from __future__ import annotations

from flask import Blueprint

bp = Blueprint("members", __name__)
