"""The pages of months, balances and statements in a real browser, at both sizes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from tests.conftest import PASSWORD

pytestmark = pytest.mark.browser
expect.set_options(timeout=120_000)
WIDER = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(params=[1280, 400])
def page(browser: Browser, app: Flask, sample: str, request: Any) -> Iterator[Page]:
    """Yield the page of an admin of the company with the sample, on a desk and on a phone."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    size: Any = {"width": request.param, "height": 900}
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", viewport=size)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("/")
    page.get_by_label("Email").fill("owner@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Reports", exact=True).wait_for()
    yield page
    context.close()
    server.shutdown()
    thread.join(60)


def look_at(page: Page, address: str) -> None:
    """Open a page that fits and says nothing wrong."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    assert not page.evaluate(WIDER), address
    assert wrong == []


def test_a_month_goes_to_paid_and_its_statement_is_at_hand(page: Page) -> None:
    look_at(page, "/label-revenue")
    look_at(page, "/label-revenue/months/2025-03")
    for step, state in (("Calculate", "calculated"), ("Approve", "approved"), ("Lock", "locked")):
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name=step, exact=True).click()
        expect(page.get_by_role("heading", name=f"State: {state}")).to_be_visible()
    look_at(page, "/label-revenue/months/2025-03")
    look_at(page, "/label-revenue/balances?from=2025-03")
    expect(page.get_by_role("cell", name="20.50").first).to_be_visible()
    page.get_by_label("Minimum, in the currency").fill("15")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_text("All labels: 15")).to_be_visible()
    look_at(page, "/label-revenue/compare?from=2025-03")
    with page.expect_download() as download:
        page.get_by_role("link", name="Statement of Harbour Classics, pool, pdf").click()
    name = "statement-1-harbour-classics-2025-03-pool.pdf"
    assert download.value.suggested_filename == name
