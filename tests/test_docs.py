"""The documents say what is there: links, commands, settings, addresses, numbers, examples.

Pages written from the code: `tests/written_docs.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import click
import flask_migrate
import pytest
from flask import Flask

from sandbox import truth
from sandbox.testing import running
from tests import written_docs
from tests.servers import GUNICORN, free_port
from tests.soon import until
from webapp import create_app
from webapp.accounts import create_key, create_user
from webapp.extensions import db, redis_client
from webapp.kinds import KINDS
from webapp.version import VERSION

# The site that the documents lead through has a database of its own.
pytestmark = pytest.mark.once
ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("clients/*/*.md")])
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
CLIENT = ROOT / "clients" / "python"
START_S = 180

API_ADDRESSES = """
POST /api/v1/reports
GET /api/v1/reports
GET /api/v1/reports/<id>
GET /api/v1/reports/<id>/events
GET /api/v1/reports/<id>/result
DELETE /api/v1/reports/<id>
POST /api/v1/reports/<id>/retry
POST /api/v1/reports/estimate
GET /api/v1/kinds
DELETE /api/v1/months
GET /api/openapi.json
GET /api/docs
POST /api/keys/v1/api/auth
POST /api/auth/token
GET /api/auth/token/refresh
POST /api/auth/token/switch
GET /healthz
GET /readyz
""".strip().splitlines()
PAGE_ADDRESSES = """
/login
/
/reports/new/<kind>
/reports/<id>
/reports/<id>.csv
/connections
/months
/keys
/members
/account
/ops/rq
""".strip().splitlines()


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def all_text() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def code_of(text: str) -> list[str]:
    """Return every piece of code: inline ones, and the lines of blocks, continued ones joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual renderers make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.+?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


# Links, images, the index


LEFT_OUT = re.findall(r"^  ([\w/]+/)$", text_of("mkdocs.yml").partition("\nvalidation:")[0], re.M)


@pytest.mark.parametrize("name", PAGE_NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    # Code in a link's own text is fine; links inside of code are not links.
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name}: {link}"
        # The site of documents has it, too.
        assert not any(folder in path for folder in LEFT_OUT), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name}: {link}"


def test_the_screenshots_are_small_and_as_wide_as_they_are_said_to_be() -> None:
    shots = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert shots
    for shot in shots:
        head = shot.read_bytes()
        assert len(head) < 200_000, shot.name
        assert struct.unpack(">I", head[16:20])[0] == int(shot.stem.rpartition("-")[2])
        assert f"images/{shot.name}" in all_text()


def test_the_index_names_every_page_and_every_kind_has_one() -> None:
    index = text_of("docs/README.md")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
    kinds = [kind.slug for kind in KINDS if (ROOT / "docs" / f"{kind.slug}.md").exists()]
    assert len(kinds) >= 5
    for slug in kinds:
        assert f"]({slug}.md)" in index
        assert f"](docs/{slug}.md)" in text_of("README.md")


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
    page.goto((SITE / "index.html").as_uri())
    page.get_by_label("Search").first.click()
    page.keyboard.type(words)
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
        ("time zone", "how-to"),
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


def test_the_changelog_names_every_kind_and_the_version() -> None:
    log = text_of("CHANGELOG.md")
    for kind in KINDS:
        assert f"`{kind.slug}`" in log
    for title in re.findall(r"^### (.+)$", log, re.M):
        assert title in {"Added", "Changed", "Fixed", "Removed", "Security"}
    assert f"## [{VERSION}]" in log


def test_each_decision_has_its_five_lines() -> None:
    decisions = re.split(r"^## ", text_of("DECISIONS.md"), flags=re.M)[1:]
    assert len(decisions) >= 15
    wanted = ["Context", "Choice", "Rivals", "Why", "Look again"]
    for decision in decisions:
        assert re.findall(r"^- \*\*(.+?)\*\*", decision, re.M) == wanted, decision.splitlines()[0]


# Commands


def test_every_make_verb_that_is_named_exists() -> None:
    verbs = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.M))
    named = {
        verb
        for piece in code_of(all_text())
        for verb in re.findall(r"^make ([a-z][a-z-]*)|[;&] make ([a-z][a-z-]*)", piece)
        for verb in verb
        if verb
    }
    assert {"run", "test", "install", "lint", "bench"} <= named
    assert named <= verbs


def test_every_flask_command_that_is_named_exists_with_its_options(tmp_path: Path) -> None:
    app = create_app({"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"})
    found = 0
    for piece in code_of(all_text()):
        for part in re.findall(r"(?:^|[ /])flask ([a-z][^|;]*)", piece):
            found += 1
            # The guide's own kind is run by tests/test_adding_a_kind.py.
            if not part.startswith("report working-days"):
                check_command(app, part)
    assert found >= 10


def check_command(app: Flask, written: str) -> None:
    """Fail where a command, a subcommand or an option of it does not exist."""
    from flask.cli import ScriptInfo

    words = shlex.split(written.replace("[", " ").replace("]", " "), comments=True)
    info = ScriptInfo(create_app=lambda: app)
    with app.app_context(), click.Context(app.cli, obj=info):
        command: Any = app.cli.commands.get(words[0])
        assert command is not None, f"flask {written}"
        for number, word in enumerate(words[1:], start=1):
            if not isinstance(command, click.Group) or not re.fullmatch("[a-z-]+", word):
                break
            inner = command.get_command(click.get_current_context(), word)
            assert inner is not None, f"flask {' '.join(words[: number + 1])}"
            command = inner
        if isinstance(command, click.Group):
            return
        known = {option for param in command.params for option in param.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}
        assert used <= known, f"flask {written}: {used - known}"


# Settings


@pytest.mark.parametrize("name", written_docs.PAGES)
def test_a_page_that_is_written_from_the_code_is_up_to_date(name: str) -> None:
    written = "write it anew: PYTHONPATH=. .venv/bin/python tests/written_docs.py"
    assert text_of(f"docs/{name}") == written_docs.PAGES[name](), written


def test_the_settings_of_the_readme_have_the_defaults_of_the_code() -> None:
    table = text_of("README.md").partition("## Settings")[2].partition("\n## ")[0]
    defaults = {name: default for name, default, _, _ in written_docs.settings()}
    rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", table, re.M)
    assert len(rows) >= 9
    for names, shown in rows:
        listed = re.findall(r"`([A-Z_]+)`", names)
        values = re.findall(r"`([^`]+)`", shown)
        for number, name in enumerate(listed):
            assert name in defaults
            if defaults[name]:
                assert values[number] == defaults[name], name


# Addresses


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return `METHOD /address` of every route, its variables written as <id>."""
    folder = tmp_path_factory.mktemp("rules")
    app = create_app({"DATA_DIR": str(folder), "REDIS_URL": "redis://127.0.0.1:1/0"})
    return {
        f"{method} {re.sub('<[^>]+>', '<id>', rule.rule).rstrip('/') or '/'}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }


@pytest.mark.parametrize("address", API_ADDRESSES)
def test_every_address_for_programs_exists_and_is_told_of(address: str, rules: set[str]) -> None:
    assert address in rules
    told = text_of("docs/api.md") + text_of("docs/accounts.md") + text_of("docs/operations.md")
    assert f"`{address}" in told


@pytest.mark.parametrize("address", PAGE_ADDRESSES)
def test_every_page_exists_and_is_told_of(address: str, rules: set[str]) -> None:
    path = re.sub("<[^>]+>", "<id>", address.replace(".csv", ".<id>"))
    assert f"GET {path}" in rules
    assert f"`{address}`" in text_of("docs/architecture.md")


# Numbers and examples


def test_the_worked_example_has_the_numbers_of_the_stand_in() -> None:
    page = text_of("docs/partner-use.md")
    report = truth.report(70000001, ("2023-12", "2024-03"))
    totals = [month["total_users"] for month in report["months"]]
    assert f"| **sum** | {' | '.join(map(str, totals))} |" in page
    for site in report["sites"]:
        if not site["is_child"]:
            numbers = " | ".join(str(month["total_users"]) for month in site["months"])
            assert re.search(
                rf"^\| {re.escape(site['name'])}[^|]*\| {re.escape(numbers)} \|$", page, re.M
            )
    (csv,) = fenced(page, "csv")
    lines = [f"{m['month']},{m['total_users']},{m['delta']}" for m in report["months"][1:]]
    assert csv.splitlines() == ["month,total_users,delta", *lines]


@dataclass(frozen=True)
class Place:
    """A running site, a key for it, and what commands on the same folder have to be told."""

    port: int
    api_key: str
    secret: str
    config: dict[str, str]

    def environ(self, port: int | None = None) -> dict[str, str]:
        return {
            **os.environ,
            **self.config,
            "REPORTS_URL": f"http://127.0.0.1:{port or self.port}",
            "API_KEY": self.api_key,
            "API_SECRET": self.secret,
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(CLIENT),
        }


@pytest.fixture(scope="module")
def place(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return a real site: gunicorn and a worker, as they run in production, and the stand-in."""
    folder = tmp_path_factory.mktemp("place")
    port = free_port()
    config = {
        "DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'site.sqlite3'}",
        "REDIS_URL": redis_url,
        "SECRET_KEY": "a key that only the site of these tests uses",
        "QUEUE": f"docs-{port}",
    }
    api_key, secret = prepared(config)
    with running(latency_ms=60) as stand_in:
        environ = {
            **os.environ,
            **config,
            "PARTNER_API_URL": stand_in.url_template,
            "PARTNER_SEARCHES_PER_SECOND": "0",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_THREADS": "16",
            "PYTHONPATH": str(ROOT),
        }
        programs = [
            spawn(GUNICORN, environ),
            spawn([sys.executable, str(ROOT / "worker.py")], environ),
            spawn([sys.executable, "-m", "flask", "janitor"], environ),
        ]
        try:
            wait_for(port, programs)
            yield Place(port, api_key, secret, config)
        finally:
            stop(programs)


def prepared(config: dict[str, str]) -> tuple[str, str]:
    """Make the database and somebody in it; return their API key and secret."""
    app = create_app(config)
    with app.app_context():
        flask_migrate.upgrade()
        user = create_user("docs@example.com", "Acme", "admin", "correct horse battery")
        key, secret = create_key(user, "docs")
        api_key = key.key_id
        db.session.remove()
        db.engine.dispose()
    redis_client(app).close()
    return api_key, secret


def stop(programs: list[subprocess.Popen[bytes]]) -> None:
    for program in programs:
        program.terminate()
    for program in programs:
        try:
            program.wait(60)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait(60)


def spawn(argv: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL)


def wait_for(port: int, programs: list[subprocess.Popen[bytes]]) -> None:
    """Return when the site says that all of it works, a worker too."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(program.poll() is None for program in programs)
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise AssertionError("the site did not become ready")


class BreakingLine:
    """A connection to a site that breaks once, in the middle of an event stream."""

    def __init__(self, port: int, after_lines: int) -> None:
        self._to, self._after = port, after_lines
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.resumed: list[bytes] = []
        self._broken = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            for source, sink, look in ((near, far, self._asked), (far, near, self._told)):
                pump = threading.Thread(target=self._pump, args=(source, sink, look), daemon=True)
                pump.start()
                self._threads.append(pump)

    def _pump(self, source: socket.socket, sink: socket.socket, look: Callable[..., int]) -> None:
        seen = b""
        with suppress(OSError):
            while chunk := source.recv(4096):
                passed = look(seen, chunk)
                sink.sendall(chunk[:passed])
                if passed < len(chunk):
                    break
                seen += chunk
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _asked(self, seen: bytes, chunk: bytes) -> int:
        self.resumed += re.findall(rb"Last-Event-ID: (\d+)", chunk)
        return len(chunk)

    def _told(self, seen: bytes, chunk: bytes) -> int:
        """Return how much of a piece passes: all, or up to the middle of the event that is cut."""
        cuts = [found.start() for found in re.finditer(rb"\nid: ", seen + chunk)]
        if self._broken.is_set() or len(cuts) < self._after:
            return len(chunk)
        self._broken.set()
        return max(cuts[self._after - 1] - len(seen), 0)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


@contextmanager
def breaking_line(port: int, after_lines: int) -> Iterator[BreakingLine]:
    line = BreakingLine(port, after_lines)
    try:
        yield line
    finally:
        line.close()


def test_the_python_example_runs_over_a_line_that_breaks(place: Place, tmp_path: Path) -> None:
    (example,) = fenced(text_of("docs/api.md"), "python")
    with breaking_line(place.port, after_lines=3) as line:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=tmp_path,
            env=place.environ(line.port),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    numbers = [int(one) for one in re.findall(r"^ +(\d+)  \d+/\d+ ", done.stdout, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 5
    assert line.resumed == [b"0", b"2"]
    assert "The report is done." in done.stdout
    saved = (tmp_path / "report.csv").read_text("utf-8")
    (shown,) = fenced(text_of("docs/partner-use.md"), "csv")
    assert saved.replace("\r\n", "\n").startswith(shown)
    assert len(saved.splitlines()) == 7


def test_the_examples_of_the_client_run_as_they_are_written(place: Place, tmp_path: Path) -> None:
    told = []
    for example in fenced((CLIENT / "README.md").read_text("utf-8"), "python"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=tmp_path,
            env=place.environ(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout)
    assert len(told) == 3
    assert re.fullmatch(r"done \d+\n", told[0])
    assert "The report is done." in told[1]
    assert (tmp_path / "report.csv").read_text("utf-8").startswith("month,total_users,delta")
    assert told[2].startswith("partner_id: ")


def run_as_written(script: str, place: Place, folder: Path) -> str:
    """Run what a page says in a shell, with this site's address, key and folders; return output."""
    for written, here in (
        ("http://127.0.0.1:5000", f"http://127.0.0.1:{place.port}"),
        ("'purk_…:pur_…'", shlex.quote(f"{place.api_key}:{place.secret}")),
        (".venv/bin/flask", shlex.quote(str(Path(sys.executable).with_name("flask")))),
        ("Demo Company", "Acme"),
        ("/tmp/partner-use-reports", str(folder / "delivered")),
    ):
        script = script.replace(written, here)
    assert place.secret in script
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=place.environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.replace("\r\n", "\n")


needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")


@needs_curl
def test_the_first_report_of_the_readme_runs_as_it_is_written(place: Place, tmp_path: Path) -> None:
    (script,) = [block for block in fenced(text_of("README.md"), "sh") if "curl" in block]
    printed = run_as_written(script, place, tmp_path)
    assert "event: end" in printed
    assert "2024-01,13883,248\n" in printed


@needs_curl
@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("partner-use", "2024-01,13883,248\n"),
        ("label-revenue", "Harbour Classics,"),
        ("inventory", "Scope 2,632846.208,"),
        ("project-storage", ",Letters,"),
        ("session-activity", "tutorial,2025-03,2.0,2.0\n"),
    ],
)
def test_a_tutorial_leads_from_nothing_to_a_result_and_its_delivery(
    kind: str, shown: str, place: Place, tmp_path: Path
) -> None:
    page = f"docs/tutorials/{kind}.md"
    printed = run_as_written("\n".join(fenced(text_of(page), "sh")), place, tmp_path)
    assert shown in printed, printed[-3000:]
    ends = re.findall(r'^data: {"status": "(\w+)"}$', printed, re.M)
    assert set(ends) == {"done"}
    if kind != "partner-use":
        assert len(ends) == 2
        delivered = tmp_path / "delivered"
        assert until(lambda: {one.suffix for one in delivered.rglob("*.*")} == {".csv", ".xlsx"})


def test_the_examples_name_no_secret_but_the_stand_ins() -> None:
    for found in re.findall(r"pur_[0-9A-Za-z]{8,}|eyJ[0-9A-Za-z_-]{20,}", all_text()):
        raise AssertionError(f"a credential in the documents: {found[:8]}…")
