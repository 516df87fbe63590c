"""The JSON API of reports, months and kinds, for programs; its document is `/api/openapi.json`.

Everything here answers JSON, CSV, XLSX or events, signs in by Basic or Bearer, and errs in
problem+json; what people read about it is pages, and errs in pages. The addresses of single kinds
are in the folders of those kinds.
"""

from __future__ import annotations

from flask import Flask

from webapp import error_pages
from webapp.api import documents, shares, views


def init_app(app: Flask) -> None:
    """Register the blueprints of the API and of its document."""
    # Imported for its routes.
    assert shares
    app.register_blueprint(views.bp)
    app.register_blueprint(documents.bp)
    for pages in ("/api/docs", "/api/errors"):
        error_pages.envelope(pages, error_pages.error_page)


__all__ = ["init_app"]
