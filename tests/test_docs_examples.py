"""The examples of the documents, run from their text against a site that runs.

In a shell: the blocks of a page one after the other, as somebody would paste them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import flask_migrate
import pytest
import requests

from sandbox.testing import running
from tests.breaking_line import breaking_line
from tests.doc_pages import CLIENT, PAGES, ROOT, fenced, text_of
from tests.servers import GUNICORN, free_port
from tests.soon import until
from webapp import create_app
from webapp.accounts import create_key, create_user
from webapp.extensions import db, redis_client

# The site that the documents lead through has a database of its own.
pytestmark = pytest.mark.once
START_S = 180


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
        partner = {"PARTNER_API_URL": stand_in.url_template}
        environ = {
            **os.environ,
            **config,
            **partner,
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
            yield Place(port, api_key, secret, config | partner)
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
        ("'purk_…'", place.api_key),
        ("'pur_…'", place.secret),
        (".venv/bin/flask", shlex.quote(str(Path(sys.executable).with_name("flask")))),
        ("Demo Company", "Acme"),
        ("/tmp/partner-use-reports", str(folder / "delivered")),
    ):
        script = script.replace(written, here)
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


def members_of_result(place: Place, kind: str) -> set[str]:
    """Return the names in the JSON of the newest result: its members, and those of its rows."""
    reports, who = f"http://127.0.0.1:{place.port}/api/v1/reports", (place.api_key, place.secret)
    query = {"kind": kind, "status": "done", "limit": 1}
    (newest,) = requests.get(reports, query, auth=who, timeout=60).json()
    result = requests.get(f"{reports}/{newest['id']}/result", auth=who, timeout=60).json()
    rows = [row for table in result.values() if isinstance(table, list) for row in table]
    return {name for one in [result, *rows] if isinstance(one, dict) for name in one}


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
    told = text_of(f"docs/{kind}.md")
    assert [one for one in members_of_result(place, kind) if f'"{one}"' not in told] == []
    if kind != "partner-use":
        assert len(ends) == 2
        delivered = tmp_path / "delivered"
        assert until(lambda: {one.suffix for one in delivered.rglob("*.*")} == {".csv", ".xlsx"})


# What is asked of a page's blocks: what stands in their place here, and what they print.
SAMPLE = "webapp/kinds/label_revenue/sample"
BLOCKS: dict[str, tuple[dict[str, str], list[str]]] = {
    "docs/api.md": ({}, ["\ndone\n", "2024-01,119500000001,shop.example.com,12444,240"]),
    "docs/partner-use.md": ({"--output months.csv": ""}, ["2024-01,13883,248"]),
    "docs/label-revenue.md": (
        {
            "users.csv": f"{SAMPLE}/users.csv",
            "streaming.csv": f"{SAMPLE}/streaming.csv",
            "tracks.json": f"{SAMPLE}/tracks.json",
            "NAME": "Acme",
        },
        ["Batch "],
    ),
    "docs/session-activity.md": ({}, ['{"message":"Created"}\n{"message":"Created"}']),
    "docs/sandbox.md": ({".venv/bin/python": sys.executable}, ['"total_users": 13883']),
    "docs/project-storage.md": ({"held.csv": "{folder}/held.csv"}, ['"accepted"', '"accepted":1']),
}
# What installs, or starts all of it: `tests/ops` starts that, and has no packages to download.
NOT_RUN = {"docs/tour.md": 2, "README.md": 1, "clients/python/README.md": 2}


def test_every_block_for_a_shell_is_run_or_said_not_to_be() -> None:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        blocks = len(fenced(page.read_text("utf-8"), "sh"))
        run = name in BLOCKS or name.startswith("docs/tutorials/") or name == "README.md"
        left = NOT_RUN.get(name, 0)
        assert not blocks or (run and blocks > left) or blocks == left, name


@needs_curl
@pytest.mark.parametrize("page", BLOCKS)
def test_the_blocks_of_a_page_run_one_after_the_other(
    page: str, place: Place, tmp_path: Path
) -> None:
    changed, shown = BLOCKS[page]
    script = "\n".join(fenced(text_of(page), "sh"))
    for written, here in changed.items():
        assert written in script
        script = script.replace(written, here.replace("{folder}", str(tmp_path)))
    if page == "docs/project-storage.md":
        prepared = fenced(text_of("docs/tutorials/project-storage.md"), "sh")[:2]
        script = "\n".join([*prepared, script])
    printed = run_as_written(script, place, tmp_path)
    for one in shown:
        assert one in printed, printed[-3000:]
