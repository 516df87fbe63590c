"""The site of documents that `make docs` builds: its menu, its search, its tables on a phone."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.doc_pages import ROOT, text_of

pytestmark = pytest.mark.once


def test_the_site_of_documents_has_every_page_in_its_menu() -> None:
    menu = text_of("mkdocs.yml").partition("\nnav:\n")[2]
    pages = re.findall(r"([\w./-]+\.md)", menu)
    assert len(pages) == len(set(pages))
    for page in pages:
        above = page.removeprefix("project/")
        assert (ROOT / above if page != above else ROOT / "docs" / page).exists(), page
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in pages, page


SITE = ROOT / "site"
of_the_site = pytest.mark.skipif(not SITE.is_dir(), reason="`make docs` was not run")


def found_first(page: Any, words: str) -> str:
    """Return which page a search of the site of documents shows first."""
    # By the address: typed, a letter at a time, the first letters find something first.
    page.goto(f"{(SITE / 'index.html').as_uri()}?q={quote_plus(words)}")
    link = page.locator(".md-search-result__link").first
    link.wait_for()
    return str(link.get_attribute("href")).partition("?")[0].rpartition("/site/")[2]


@pytest.mark.browser
@of_the_site
def test_the_site_of_documents_is_searched_from_the_disk_and_asks_nobody(page: Any) -> None:
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert found_first(page, "work-horse") == "glossary.html"
    assert [url for url in asked if not url.startswith("file:")] == []
    assert errors == []


@pytest.mark.browser
@of_the_site
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("password", "settings accounts"),
        ("forgot password", "how-to accounts"),
        ("webhook", "saved-reports"),
        ("retry", "glossary api how-to"),
        ("expire", "commands glossary api"),
        ("csv", "columns project-storage how-to"),
        ("excel", "how-to"),
        ("time zone", "session-activity how-to"),
        ("backup", "commands operations"),
        *((other, "glossary") for other in ("refund", "timezone", "logout", "gdpr")),
        ("permission", "glossary project-storage accounts"),
    ],
)
def test_the_words_of_users_find_the_page_about_them(words: str, wanted: str, page: Any) -> None:
    """Decisions and changes name much, and are read last."""
    assert found_first(page, words).removesuffix(".html") in wanted.split()


@pytest.mark.browser
@of_the_site
def test_tables_on_a_phone_scroll_in_their_place_and_cut_no_name(page: Any) -> None:
    page.set_viewport_size({"width": 400, "height": 900})
    for name in ("settings", "commands", "api", "columns"):
        page.goto((SITE / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        cut = page.evaluate(
            """[...document.querySelectorAll("td:first-child > code:only-child")]
            .filter((one) => !/[\\s/-]/.test(one.textContent) && one.getClientRects().length > 1)
            .map((one) => one.textContent)"""
        )
        assert cut == [], name
