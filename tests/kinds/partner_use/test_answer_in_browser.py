"""A newcomer's way in a real browser: how many users, what is missing and why, the table to send.

Walked at both sizes, in both schemes, without looking at anything but what the page shows.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from tests.conftest import DEMO_KEY, DEMO_SECRET, PASSWORD
from tests.kinds.partner_use.partner_use_helpers import Maker, ago

pytestmark = pytest.mark.browser
expect.set_options(timeout=120_000)


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """Return the address of the application, served by this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join(60)


@pytest.fixture
def newcomer(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Return a maker of pages of somebody who was just given the sign-in."""
    contexts = []

    def make(**options: Any) -> Page:
        context = browser.new_context(base_url=address, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto("/")
        page.get_by_label("Email").fill("owner@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_newcomer_finds_the_answer_and_what_is_missing(
    maker: Maker, newcomer: Callable[..., Page], width: int, scheme: str
) -> None:
    params = {"partner_id": "70000007", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET}
    maker.make(params | {"mode": "monthly", "start": ago(14), "end": ago(1)})
    page = newcomer(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.get_by_role("link", name=re.compile("Partner use: 70000007")).first.click()
    # The answer is in sight before anything is touched.
    answer = page.locator(".answer")
    expect(answer).to_contain_text("accounts at 3 of 5 sites")
    expect(answer).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The sites that could not be counted come first, each with its reason, whole within the page.
    sites = page.locator("#grid-sites")
    first = sites.locator("tbody tr").first
    expect(first.locator(".remark")).to_contain_text("may not do this")
    box = first.locator(".remark").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    # By a switch they stand alone; the address says so, and Back undoes it.
    sites.get_by_role("link", name="Problems only (3)").click()
    expect(sites.locator("tbody tr")).to_have_count(3)
    expect(page).to_have_url(re.compile(r"sites\.problems=1"))
    page.go_back()
    expect(page.locator("#grid-sites tbody tr")).to_have_count(6)
    # The table, to send it to a colleague.
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert lines[0].startswith("month,total_users,delta")
    assert len(lines) == 15


def test_a_site_opens_by_keyboard_alone_and_leads_back(
    maker: Maker, newcomer: Callable[..., Page]
) -> None:
    params = {"partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET}
    report = maker.make(params | {"mode": "monthly", "start": ago(4), "end": ago(1)})
    page = newcomer(viewport={"width": 1280, "height": 800})
    page.goto(f"/reports/{report.id}")
    site = page.locator("#grid-sites tbody a").first
    name = site.inner_text()
    site.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.locator("figure[data-drawn='total_users']")).to_be_visible()
    page.get_by_role("link", name=re.compile("Partner use: 70000001")).click()
    expect(page.locator("#grid-sites")).to_be_visible()
    # Children are folded below their parent until somebody wants to see them.
    parent = page.locator("details.children").first
    expect(parent.locator("li").first).not_to_be_visible()
    parent.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(parent.locator("li").first).to_be_visible()


def test_rows_are_cards_on_a_phone_and_can_be_sorted_there(
    maker: Maker, newcomer: Callable[..., Page]
) -> None:
    params = {"partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET}
    report = maker.make(params | {"mode": "monthly", "start": ago(4), "end": ago(1)})
    page = newcomer(viewport={"width": 400, "height": 800}, java_script_enabled=False)
    page.goto(f"/reports/{report.id}")
    sites = page.locator("#grid-sites")
    frame = sites.locator(".table-scroll").bounding_box()
    assert frame is not None
    for cell in sites.locator("tbody td").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    sites.locator(".sort-on-phone summary").click()
    sites.locator(".sort-on-phone").get_by_role("link", name="Growth").click()
    growths = page.locator("#grid-sites tbody td[data-label='Growth']").all_inner_texts()
    numbers = [int(text.replace(",", "")) for text in growths]
    assert numbers == sorted(numbers, reverse=True)
    expect(page.locator("#grid-sites tfoot")).to_contain_text("Total")
