"""The pages in a real browser: live lines, a broken stream, keyboard, dark, no script, a phone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect
from running_site import Site

from tests.conftest import PASSWORD

pytestmark = pytest.mark.browser

# Wide enough for a report that waits behind another test's long one.
WAIT_MS = 120_000
expect.set_options(timeout=WAIT_MS)
# A refused form or stream is part of some tests; browsers write it down themselves.
EXPECTED = re.compile(r"Failed to load resource|net::ERR_|htmx:sse:error|htmx:response:error")
WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@pytest.fixture
def open_browser(browser: Browser, site: Site) -> Iterator[Callable[..., BrowserContext]]:
    """Return a maker of browser windows in which any script error or policy violation fails."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.search(message.text):
            complaints.append(message.text)

    def make(at: Site = site, **options: Any) -> BrowserContext:
        context = browser.new_context(base_url=at.base_url, **options)
        context.set_default_timeout(WAIT_MS)
        context.on("console", hear)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        if options.get("java_script_enabled", True):
            context.add_init_script(WATCH_POLICY)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def signed_in(open_browser: Callable[..., BrowserContext]) -> Callable[..., Page]:
    """Return a maker of pages signed in as somebody."""

    def make(who: str = "owner", **options: Any) -> Page:
        page = open_browser(**options).new_page()
        page.goto("/login")
        page.get_by_label("Email").fill(f"{who}@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        return page

    return make


def shown_lines(page: Page) -> list[int]:
    found: list[int] = page.eval_on_selector_all(
        "#lines > p", "items => items.map(item => Number(item.dataset.seq))"
    )
    return found


def wait_for_result(page: Page) -> None:
    expect(page.locator("#report")).to_have_attribute(
        "data-status", re.compile("done|incomplete|failed"), timeout=WAIT_MS
    )


def test_from_sign_in_to_live_lines_to_the_download(signed_in: Callable[..., Page]) -> None:
    page = signed_in()
    page.get_by_role("link", name="Start Tally").click()
    page.get_by_label("Topic").fill("slow")
    page.get_by_role("spinbutton", name="Things").fill("40")
    page.get_by_role("button", name="Estimate").click()
    expect(page.locator("#estimate")).to_contain_text("About 1,234 calls to come")
    page.get_by_role("button", name="Start report").click()
    page.wait_for_url(re.compile("/reports/[0-9a-f-]{36}$"))
    expect(page.locator("#lines")).to_contain_text("Thing 3 of 40 is counted.")
    expect(page.locator("#meters")).to_contain_text("running")
    expect(page.locator("#meters progress")).to_have_attribute("max", "1000")
    lines = shown_lines(page)
    assert lines == list(range(1, len(lines) + 1))
    wait_for_result(page)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("#grid-things")).to_contain_text("Thing number 7")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert download.value.suggested_filename == "tally-slow-short.csv"
    text = download.value.path().read_text("utf-8")
    assert text.startswith("\ufeffnumber,name,weight")
    assert len(text.splitlines()) == 41


def test_lines_neither_repeat_nor_miss_when_the_server_restarts(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in()
    # Slower than the eight lines a second from which routine lines are left out.
    report_id = site.start_report(things=110, pause_ms=140)
    page.goto(f"/reports/{report_id}")
    expect(page.locator("#lines")).to_contain_text("Thing 3 of 110")
    site.stop_web()
    time.sleep(2)
    site.start_web()
    expect(page.locator("#lines")).to_contain_text("Thing 90 of 110")
    lines = shown_lines(page)
    assert lines == list(range(1, len(lines) + 1))
    wait_for_result(page)


def test_lines_come_even_where_the_extension_comes_late(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in()

    def dawdle(route: Route) -> None:
        time.sleep(0.7)
        route.continue_()

    page.route("**/hx-sse.min.js", dawdle)
    page.goto(f"/reports/{site.start_report(things=40, pause_ms=80)}")
    expect(page.locator("#lines")).to_contain_text("Thing 20 of 40")
    wait_for_result(page)


def test_a_refused_stream_leaves_the_page_polling(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in()
    refused: list[str] = []

    def refuse(route: Route) -> None:
        refused.append(route.request.url)
        route.fulfill(status=503, headers={"Retry-After": "5"}, body="no room")

    page.route("**/events?*", refuse)
    page.goto(f"/reports/{site.start_report(things=50, pause_ms=100)}")
    expect(page.locator("#lines")).to_contain_text("Thing 20 of 50")
    wait_for_result(page)
    assert len(refused) >= 2


def test_without_streaming_the_loader_arrives_by_polling(
    signed_in: Callable[..., Page], polling_site: Site
) -> None:
    page = signed_in(at=polling_site)
    page.goto(f"/reports/{polling_site.start_report(things=50, pause_ms=100)}")
    page.locator("#cancel").focus()
    expect(page.locator("#lines")).to_contain_text("Thing 20 of 50")
    expect(page.locator("#cancel")).to_be_focused()
    lines = shown_lines(page)
    assert lines == list(range(1, len(lines) + 1))
    wait_for_result(page)
    polls: list[str] = []
    page.on("request", lambda request: polls.append(request.url))
    page.wait_for_timeout(3000)
    assert polls == []


def test_the_tab_counts_lines_fold_and_the_end_is_told(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in(permissions=["notifications"])
    page.add_init_script(
        "window.told = []; window.Notification = class extends EventTarget {"
        " static permission = 'granted';"
        " constructor(title, { body }) { super(); window.told.push(`${title}: ${body}`); } };"
        "Object.defineProperty(document, 'hidden', { get: () => true });"
    )
    page.goto(f"/reports/{site.start_report(things=50, pause_ms=80, holes=True)}")
    expect(page).to_have_title(re.compile(r"^[1-9]\d? % · Tally: apples short · "))
    expect(page.locator("#lines .is-info").first).to_be_visible()
    page.get_by_label("Warnings and errors only").check()
    expect(page.locator("#lines .is-info").first).to_be_hidden()
    wait_for_result(page)
    expect(page).to_have_title(re.compile("^Tally: apples short · "))
    assert page.evaluate("told") == ["Tally: apples short: The report is incomplete."]


def test_cancel_ends_the_report_at_once(signed_in: Callable[..., Page], site: Site) -> None:
    page = signed_in()
    page.goto(f"/reports/{site.start_report(things=600, pause_ms=100)}")
    expect(page.locator("#lines")).to_contain_text("Thing 2 of 600")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#report .badge").first).to_have_text("cancelled")
    expect(page.locator("#lines")).to_contain_text("Cancelled on request.")


def test_the_chart_has_two_views_by_keyboard(signed_in: Callable[..., Page], site: Site) -> None:
    page = signed_in()
    long = {"mode": "long", "start": "2024-01", "end": "2025-06"}
    page.goto(f"/reports/{site.start_report(**long)}")
    wait_for_result(page)
    chart = page.locator("[data-chart]")
    expect(chart).to_have_attribute("data-drawn", "total")
    page.get_by_role("button", name="Overall").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Delta")).to_be_focused()
    page.keyboard.press("Enter")
    expect(chart).to_have_attribute("data-drawn", "delta")
    expect(page.get_by_role("button", name="Delta")).to_have_attribute("aria-pressed", "true")
    expect(chart.locator(".chart-says")).to_contain_text("Strongest")
    chart.get_by_label("From").select_option("2025-01")
    # View and range stand in the address: a page opened there shows them.
    assert page.url.endswith("?chart.months.view=delta&chart.months.from=2025-01")
    page.reload()
    expect(chart).to_have_attribute("data-drawn", "delta")
    shown = "Chart.getChart(document.querySelector('canvas')).data.labels"
    assert page.evaluate(shown) == [f"2025-0{month}" for month in range(1, 7)]
    with page.expect_download() as download:
        chart.get_by_role("button", name="PNG").click()
    assert download.value.suggested_filename == "months-delta.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    expect(page.locator("#grid-months")).to_contain_text("2025-06")


def test_the_grid_sorts_and_filters_in_place_and_back_goes_back(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in()
    page.goto(f"/reports/{site.start_report(things=120)}")
    wait_for_result(page)
    grid = page.locator("#grid-things")
    header = grid.get_by_role("link", name="Weight")
    header.focus()
    page.keyboard.press("Enter")
    expect(grid.locator("[aria-sort=descending]")).to_contain_text("Weight")
    expect(header).to_be_focused()
    assert page.url.endswith("?sort=weight&dir=desc")
    grid.get_by_role("searchbox").fill("number 77")
    page.keyboard.press("Enter")
    expect(grid).to_contain_text("1 of 120 rows match")
    assert "q=number+77" in page.url
    assert "sort=weight" in page.url
    page.go_back()
    expect(grid).to_contain_text("120 rows")
    expect(grid.locator("[aria-sort=descending]")).to_contain_text("Weight")


def test_fields_come_and_go_with_the_mode(signed_in: Callable[..., Page]) -> None:
    page = signed_in()
    page.goto("/reports/new/tally")
    expect(page.get_by_label("First month")).to_be_hidden()
    page.get_by_label("Long: month by month").check()
    expect(page.get_by_label("First month")).to_be_visible()
    page.get_by_label("First month").fill("2024-05")
    page.get_by_label("Topic").fill("")
    page.get_by_role("button", name="Start report").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_label("First month")).to_have_value("2024-05")
    page.get_by_role("link", name="Topic").click()
    expect(page.get_by_label("Topic")).to_be_focused()


def test_the_reference_of_the_api_counts_what_is_found(signed_in: Callable[..., Page]) -> None:
    page = signed_in()
    page.goto("/api/docs")
    # The command of each entry says REPORTS_URL, its errors "see Retry-After"; that is no find.
    for words in ("estimate", "reports", "retry", "another company"):
        page.get_by_role("searchbox", name="Find").fill(words)
        told = page.locator("#api-found").inner_text()
        counts = page.locator(".api-tag:visible .api-count").all_inner_texts()
        assert 0 < sum(map(int, counts)) == int(told.split()[0]) < int(told.split()[2]) / 2


def test_the_skip_link_leads_to_the_content(signed_in: Callable[..., Page]) -> None:
    page = signed_in()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_the_list_follows_a_running_report(signed_in: Callable[..., Page], site: Site) -> None:
    page = signed_in()
    report_id = site.start_report(things=40, pause_ms=100)
    page.goto("/")
    row = page.locator(f"#report-{report_id}")
    expect(row).to_contain_text(re.compile(r"[1-9]\d? %"))
    expect(row).to_contain_text("done")


def test_the_palette_goes_anywhere_by_keyboard(signed_in: Callable[..., Page]) -> None:
    page = signed_in()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Go to")).to_be_visible()
    page.keyboard.type("new tally")
    expect(page.locator(".found a")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".found a").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/reports/new/tally")
    # Also on RQ's pages, whose own scripts change what the browser brings along.
    page = signed_in("operator")
    page.goto("/ops/rq/")
    page.keyboard.press("Control+k")
    page.keyboard.type("queues and jobs")
    expect(page.locator(".found")).to_contain_text("Nothing")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Go to")).to_be_hidden()


def test_dark_is_dark_and_light_is_light(signed_in: Callable[..., Page], site: Site) -> None:
    page = signed_in(color_scheme="dark")
    long = {"mode": "long", "start": "2024-01", "end": "2024-06"}
    page.goto(f"/reports/{site.start_report(**long)}")
    wait_for_result(page)
    expect(page.locator("[data-chart]")).to_have_attribute("data-drawn", "total")

    def ground() -> str:
        found: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    def line() -> str:
        script = "Chart.getChart(document.querySelector('canvas')).data.datasets[0].borderColor"
        found: str = page.evaluate(script)
        return found

    dark = ground(), line()
    page.emulate_media(color_scheme="light")
    assert ground() != dark[0]
    # The chart is drawn again when the browser has told it so.
    page.wait_for_function(
        "old => Chart.getChart(document.querySelector('canvas'))"
        ".data.datasets[0].borderColor !== old",
        arg=dark[1],
    )


RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # What is well is looked at all the same, but not written down element by element.
    "resultTypes": ["violations"],
}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_page_is_open_to_everybody(
    signed_in: Callable[..., Page], site: Site, width: int, scheme: Any
) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    # The rules come as a script of their own, which our policy would not run.
    page = signed_in(bypass_csp=True, **options)
    long = {"mode": "long", "start": "2024-01", "end": "2024-12", "things": 60}
    found = []
    for path in (
        f"/reports/{site.start_report(**long)}",
        f"/reports/{site.start_report(holes=True)}",
        f"/reports/{site.start_report(fails=True)}",
        running := f"/reports/{site.start_report(things=600, pause_ms=100)}",
        *("/", "/?q=apples", "/search?q=a", "/kinds/tally", "/reports/new", "/reports/new/tally"),
        *("/months", "/keys", "/members", "/audit", "/account", "/saved", "/nothing"),
    ):
        page.goto(path)
        is_running = path == running
        if page.locator("#report").count() and not is_running:
            wait_for_result(page)
        for one in Axe().run(page, options=RULES).response["violations"]:
            found += [(path, one["id"], node["html"][:200]) for node in one["nodes"]]
        if is_running:
            page.get_by_role("button", name="Cancel").click()
            # Its worker is free for the next test.
            expect(page.locator("#report .badge").first).to_have_text("cancelled")
    assert found == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_every_component_is_open_to_everybody_in_every_state(
    signed_in: Callable[..., Page], width: int, scheme: Any
) -> None:
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = signed_in("operator", bypass_csp=True, **options)
    page.goto("/ops/components")
    violations = Axe().run(page, options=RULES).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


# Months and days whose two ends do not stand on the same line.
BROKEN_DATES = """
() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode;
    for (const date of text.data.matchAll(/\\b\\d{4}-\\d{2}\\b/g)) {
      const range = document.createRange();
      range.setStart(text, date.index);
      range.setEnd(text, date.index + date[0].length);
      const lines = [...range.getClientRects()].filter((one) => one.width).map((one) => one.top);
      if (new Set(lines).size > 1) found.push(text.data);
    }
  }
  return found;
}
"""


@pytest.mark.parametrize("width", [360, 400, 1280])
def test_no_page_scrolls_sideways_or_breaks_a_month(
    signed_in: Callable[..., Page], site: Site, width: int
) -> None:
    page = signed_in(viewport={"width": width, "height": 800})
    long = {"mode": "long", "start": "2024-01", "end": "2024-12", "things": 60}
    for path in (
        "/",
        "/reports/new",
        "/reports/new/tally",
        f"/reports/{site.start_report(**long)}",
        f"/reports/{site.start_report(holes=True)}",
        f"/reports/{site.start_report(fails=True)}",
        "/months",
        "/keys",
        "/members",
        "/account",
        "/nothing",
    ):
        page.goto(path)
        if re.search("/reports/[0-9a-f-]{36}$", path):
            wait_for_result(page)
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], path
        assert page.evaluate(BROKEN_DATES) == [], path


def test_everything_works_without_script(
    open_browser: Callable[..., BrowserContext], site: Site
) -> None:
    page = open_browser(java_script_enabled=False).new_page()
    page.goto("/months")
    assert "/login?next=/months" in page.url
    page.get_by_label("Email").fill("owner@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/months")
    page.goto("/reports/new/tally")
    expect(page.get_by_label("First month")).to_be_visible()
    page.get_by_label("Topic").fill("slow")
    page.get_by_role("button", name="Estimate").click()
    expect(page.locator("#estimate")).to_contain_text("About 1,234 calls")
    expect(page.get_by_label("Topic")).to_have_value("slow")
    page.get_by_role("button", name="Start report").click()
    page.wait_for_url(re.compile("/reports/[0-9a-f-]{36}$"))
    expect(page.get_by_role("link", name="Refresh now")).to_be_visible()
    wait_for_result(page)
    page.get_by_role("link", name="Weight").click()
    assert page.url.endswith("?sort=weight&dir=desc")
    page.get_by_role("searchbox").fill("number 7")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#grid-things")).to_contain_text("1 of 12 rows match")
    page.locator(".more > summary").click()
    page.get_by_text("Delete…").click()
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.locator("#messages").get_by_role("status")).to_contain_text("are deleted")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_a_grid_is_filtered_by_column_and_says_so(
    signed_in: Callable[..., Page], site: Site, width: int, scheme: Any
) -> None:
    page = signed_in(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"/reports/{site.start_report(things=120)}")
    wait_for_result(page)
    grid = page.locator("#grid-things")
    grid.get_by_role("link", name="Filter by column").click()
    form = grid.get_by_role("form", name="Filter by column")
    form.get_by_label("Column").select_option("Number")
    form.get_by_label("Operator").select_option("at least, or since")
    form.get_by_label("Value").fill("1000111")
    form.get_by_label("Child").select_option("no")
    form.get_by_role("button", name="Filter").click()
    expect(grid.locator("tbody tr")).to_have_count(7)
    expect(page).to_have_url(re.compile(r"where=number%3Aabove%3A1000111%3Bis_child%3Ais%3Afalse"))
    # Who cannot see the grid change hears of it.
    expect(page.locator("#said")).to_have_text("Things: 7 of 120 rows, page 1 of 1.")
    # What is picked takes the place of what was picked before.
    form.get_by_label("Child").select_option("any")
    form.get_by_role("button", name="Filter").click()
    expect(grid.locator("tbody tr")).to_have_count(10)
    # The rows as they are shown, as a file.
    with page.expect_download() as download:
        grid.get_by_role("link", name="Download as shown").click()
    assert download.value.path().read_text("utf-8-sig").count("\n") == 11
    # Fewer columns, and the filter stays.
    grid.locator("summary", has_text="Choose columns").click()
    form = grid.get_by_role("form", name="Choose columns")
    for label in ("Share", "Key", "Problem", "Child"):
        form.get_by_label(label, exact=True).uncheck()
    form.get_by_role("button", name="Show these").click()
    expect(grid.locator("thead th")).to_have_count(4)
    expect(grid.locator("tbody tr")).to_have_count(10)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # And away with it.
    grid.get_by_role("link", name="Take away the filter Number at least, or since 1000111").click()
    expect(grid.locator(".grid-count")).to_contain_text("120 rows")


def test_the_next_page_begins_at_its_top_and_the_head_stays(
    signed_in: Callable[..., Page], site: Site
) -> None:
    page = signed_in(viewport={"width": 1280, "height": 700})
    page.goto(f"/reports/{site.start_report(things=120)}")
    wait_for_result(page)
    grid = page.locator("#grid-things")
    head = grid.locator("thead th").first
    frame = grid.locator(".table-scroll")
    frame.scroll_into_view_if_needed()
    frame.evaluate("frame => { frame.scrollTop = 900; }")
    expect(head).to_be_in_viewport()
    expect(grid.locator("tbody tr").first).not_to_be_in_viewport()
    grid.get_by_role("link", name="Next").click()
    expect(grid.locator(".grid-count")).to_contain_text("page 2 of 3")
    expect(grid.locator("tbody tr").first).to_be_in_viewport()
    expect(grid.get_by_role("heading", name="Things")).to_be_in_viewport()
