"""Style sheets and scripts as browsers keep them: under names that say what is in them, compressed.

A name holds a digest of the content, so a browser never asks for it again; the style sheets are
sent as one. Nothing of it is built beforehand: it is read when it is first asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flask import Flask, Response, abort, request, url_for

STATIC = Path(__file__).parent / "static"
SHEETS = (
    *("tokens", "base", "header", "form", "table", "card", "badge", "flash"),
    *("report", "loader", "chart"),
)
PAGE = "page.css"
FOR_EVER = "public, max-age=31536000, immutable"
COMMENT = re.compile(r"/\*.*?\*/\s*", re.DOTALL)


@dataclass(frozen=True)
class Asset:
    """A file as it is sent: its bytes, the same compressed, its type, a digest of them."""

    body: bytes
    zipped: bytes
    type: str
    digest: str


@cache
def asset(name: str) -> Asset | None:
    """Return an asset by its name below `static/`, or all style sheets of pages as `page.css`."""
    if name == PAGE:
        sheets = [(STATIC / "css" / f"{sheet}.css").read_text("utf-8") for sheet in SHEETS]
        printed = (STATIC / "css" / "print.css").read_text("utf-8")
        text = "\n".join([*sheets, f"@media print {{\n{printed}}}\n"])
        body = COMMENT.sub("", text).encode()
    else:
        path = (STATIC / name).resolve()
        if not path.is_relative_to(STATIC) or not path.is_file():
            return None
        body = path.read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    digest = hashlib.sha256(body).hexdigest()[:16]
    return Asset(body, gzip.compress(body, 9, mtime=0), kind, digest)


def asset_url(name: str) -> str:
    """Return the address of an asset as it is now."""
    found = asset(name)
    assert found is not None, name
    return url_for("send_asset", digest=found.digest, name=name)


def send_asset(digest: str, name: str) -> Response:
    """Send an asset; under the name of another version it is the present one, not kept."""
    found = asset(name)
    if found is None:
        abort(404)
    zips = request.accept_encodings["gzip"] > 0
    response = Response(found.zipped if zips else found.body, content_type=found.type)
    if zips:
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = FOR_EVER if digest == found.digest else "no-cache"
    response.set_etag(f"{found.digest}-{'gzip' if zips else 'plain'}")
    response.make_conditional(request)
    return response


def init_app(app: Flask) -> None:
    """Add the address of assets, open to anybody as pages of sign-in are, and their links."""
    app.add_url_rule("/assets/<digest>/<path:name>", view_func=send_asset)
    app.jinja_env.globals["asset_url"] = asset_url
