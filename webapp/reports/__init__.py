"""HTML for any kind of report: the list, the form, the loader, the result, stored months.

Knows kinds by the engine's contract alone, and writes nothing but through the engine. Everything
works without script; HTMX and the event stream make it live.
"""

from __future__ import annotations

from flask import Flask

from webapp.reports import filters, navigation, preferences


def init_app(app: Flask) -> None:
    """Register the room's blueprint and what templates write values with."""
    from webapp.reports import audit_log, components, lists, months, new, shares, show, stream
    from webapp.reports.blueprint import bp

    # Imported for their routes.
    assert all((audit_log, components, lists, months, new, shares, show, stream))
    for module in (filters, navigation, preferences):
        module.init_app(app)
    app.register_blueprint(bp)
    app.register_blueprint(shares.shared)


__all__ = ["init_app"]
