"""One view for the page and for its partial, with script and without.

HTMX says who asks in `HX-Request`; every answer that depends on it says so in `Vary`.
"""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, render_template, request


def is_htmx() -> bool:
    """Return whether HTMX asks for a partial; a restored history entry wants the whole page."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and "HX-History-Restore-Request" not in headers


def client_redirect(url: str) -> Response:
    """Return the answer that makes the browser go to `url` as a whole, swapping nothing in."""
    response = Response(status=204)
    response.headers["HX-Redirect"] = url
    return vary(response)


def redirect_to(url: str) -> Response:
    """Return 303 to `url`, or a client redirect where HTMX asks."""
    if is_htmx():
        return client_redirect(url)
    response = make_response(redirect(url, code=303))
    return vary(response)


def render(page: str, partial: str, *, status: int = 200, **context: Any) -> Response:
    """Return the partial for HTMX and the page, which includes it, for everybody else."""
    body = render_template(partial if is_htmx() else page, **context)
    return vary(make_response(body, status))


def vary(response: Response) -> Response:
    """Tell caches that the answer depends on who asks."""
    response.vary.add("HX-Request")
    return response
