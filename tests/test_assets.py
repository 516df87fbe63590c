"""Style sheets and scripts: kept for ever under a name that changes with them, and small."""

from __future__ import annotations

import gzip
import re

from flask import Flask

from webapp.assets import PAGE, SHEETS, STATIC, asset

MOST = 50_000


def linked(page: str) -> list[str]:
    return re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)


def test_what_a_page_loads_is_kept_for_ever_and_compressed(app: Flask) -> None:
    client = app.test_client()
    addresses = linked(client.get("/login").text)
    assert len(addresses) == 4
    for address in addresses:
        answer = client.get(address, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.vary.as_set() >= {"accept-encoding"}
        plain = client.get(address)
        assert "Content-Encoding" not in plain.headers
        assert gzip.decompress(answer.data) == plain.data
        again = client.get(address, headers={"If-None-Match": plain.headers["ETag"]})
        assert again.status_code == 304


def test_the_name_of_another_version_is_answered_and_not_kept(app: Flask) -> None:
    client = app.test_client()
    answer = client.get("/assets/0000000000000000/page.css")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"


def test_nothing_but_what_is_below_static_is_an_asset(app: Flask) -> None:
    client = app.test_client()
    for name in ("nothing.css", "../config.py", "..%2Fconfig.py", "css"):
        assert client.get(f"/assets/0/{name}").status_code == 404, name


def test_style_and_script_stay_light() -> None:
    page = asset(PAGE)
    assert page
    assert len(page.body) < MOST
    assert sum(path.stat().st_size for path in STATIC.glob("js/*.js")) < MOST
    # Sheets of single pages stand beside them.
    assert {path.stem for path in STATIC.glob("css/*.css")} >= set(SHEETS)
