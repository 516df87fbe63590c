"""The ways through the pages: a place for each kind, the pages in it, and the search of all."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request, url_for

from webapp.accounts import Scope, current_scope
from webapp.engine import registry
from webapp.engine.listing import entries_of, list_reports
from webapp.htmx import render
from webapp.lib.texts import made_storable
from webapp.reports.blueprint import bp

Link = tuple[str, str]
MOST_FOUND = 12


def init_app(app: Flask) -> None:
    """Give templates the ways through the pages."""
    app.jinja_env.globals.update(
        kinds_of_pages=registry.kinds,
        pages_of_kind=pages_of_kind,
        place_of_page=place_of_page,
        settings_pages=settings_pages,
    )


def place_of_page(scope: Scope, kind: Any, form: Any) -> str:
    """Return the slug of the kind in whose place this page is, empty in none.

    kind, form: what the page itself is about, None where it is about no kind
    """
    own = getattr(form, "kind", None) or kind
    if slug := getattr(own, "slug", ""):
        return str(slug)
    path = request.path
    for slug, one in registry.kinds().items():
        for address in (f"/{slug}", *(address for _, address in one.links(scope))):
            if f"{path}/".startswith(f"{address}/"):
                return slug
    return ""


def pages_of_kind(scope: Scope, slug: str) -> list[Link]:
    """Return (label, address) of the pages in a kind's place, its reports first."""
    kind = registry.kinds()[slug]
    pages = [("Reports", url_for("reports.show_kind", slug=slug))]
    if scope.may(kind.run_role):
        pages.append(("New report", url_for("reports.new_report", slug=slug)))
    return [*pages, *kind.links(scope)]


def settings_pages(scope: Scope) -> list[Link]:
    """Return (label, address) of the pages that belong to no kind."""
    pages = [("Account", "/account"), ("Keys", "/keys"), ("Stored months", "/months")]
    if scope.may("admin"):
        pages += [("Members", "/members"), ("Audit log", "/audit")]
    if scope.is_operator:
        pages += [("Jobs", "/ops/rq/"), ("Sizes", "/ops/sizes"), ("Components", "/ops/components")]
    return pages


@bp.get("/search")
def search() -> Response:
    """Find reports, kinds and settings by words; for HTMX the results alone."""
    scope = current_scope()
    words = made_storable(request.args.get("q", ""))[:200].strip()
    ways: list[tuple[str, str, str]] = []
    for slug, kind in registry.kinds().items():
        ways += [(label, kind.title, address) for label, address in pages_of_kind(scope, slug)]
    ways += [(label, "Settings", address) for label, address in settings_pages(scope)]
    ways.append(("Saved reports", "Reports", "/saved"))
    parts = words.casefold().split()
    found = [way for way in ways if all(part in f"{way[0]} {way[1]}".casefold() for part in parts)]
    reports = list_reports(scope, words=words, limit=MOST_FOUND).reports
    context: dict[str, Any] = {
        "words": words,
        "ways": found[:MOST_FOUND],
        "reports": reports,
        "entries": entries_of(reports),
        "kinds": registry.kinds(),
    }
    return render("reports/search.html", "reports/_found.html", **context)
