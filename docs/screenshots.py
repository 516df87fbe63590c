"""Makes the pictures of README and docs anew: `make screenshots`.

Starts the demo in a folder of its own, signs in with Chromium, and takes each page as a reader
sees it. Needs the packages of the tests and a Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PORT = 5870
START_S = 120
_BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CHROMIUM = next((found for one in _BROWSERS if (found := shutil.which(one))), None)


def main() -> int:
    """Take all pictures; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        environ = os.environ | {"DATA_DIR": f"{folder}/var"}
        command = [Path(sys.executable).parent / "flask", "up", "--demo", "--port", str(PORT)]
        with log.open("wb") as said:
            demo = subprocess.Popen(  # noqa: S603 (a program of ours, no shell)
                command, cwd=ROOT, env=environ, stdout=said, stderr=said
            )
        try:
            take_all(wait_for_sign_in(demo, log))
        finally:
            demo.send_signal(signal.SIGINT)
            demo.wait(30)
    return 0


def wait_for_sign_in(demo: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Return email and password once the demo is up."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and demo.poll() is None:
        found = re.search(r"Sign in +(\S+) +password +(\S+)", log.read_text("utf-8"))
        if found:
            return found[1], found[2]
        time.sleep(0.5)
    raise SystemExit(log.read_text("utf-8"))


def take_all(sign_in: tuple[str, str]) -> None:
    """Sign in and take each picture."""
    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM} if CHROMIUM else {}
        browser = playwright.chromium.launch(**options)
        page = browser.new_page(
            base_url=f"http://127.0.0.1:{PORT}", viewport={"width": 1280, "height": 960}
        )
        page.goto("/login")
        page.get_by_label("Email").fill(sign_in[0])
        page.get_by_label("Password").fill(sign_in[1])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        page.get_by_role("link", name="monthly").first.click()
        page.locator("[data-drawn]").wait_for()
        take(page, "report-1280.png")
        # By now the demo's alert is there, too.
        page.goto("/")
        take(page, "home-1280.png")
        page.set_viewport_size({"width": 400, "height": 800})
        start_slow_report(page)
        page.wait_for_url(re.compile("/reports/[0-9a-f-]{36}$"))
        far_enough = re.compile(r"^(1[5-9]|[2-9][0-9]) %$")
        page.locator(".stage strong", has_text=far_enough).wait_for(timeout=60_000)
        take(page, "loader-400.png")
        browser.close()


def start_slow_report(page: Page) -> None:
    """Start a report that takes a while, by its form."""
    page.goto("/reports/new/partner-use?partner_id=70000002&user_key=demo-user-key")
    page.get_by_label("User secret").fill("ZGVtby1zZWNyZXQ=")
    page.get_by_label("Both in one report").check()
    page.get_by_role("button", name="Last 12 months").click()
    page.get_by_role("button", name="Start report").click()


def take(page: Page, name: str) -> None:
    """Write what is in view as a picture."""
    page.wait_for_timeout(800)
    page.screenshot(path=IMAGES / name)
    print(f"docs/images/{name}")


if __name__ == "__main__":
    raise SystemExit(main())
