"""The documents say what is there: links, commands, settings, addresses, numbers, examples.

Pages written from the code: `tests/written_docs.py`.
"""

from __future__ import annotations

import re
import shlex
import struct
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from sandbox import truth
from tests import written_docs
from tests.doc_pages import PAGES, ROOT, fenced, text_of
from webapp import create_app
from webapp.kinds import KINDS
from webapp.version import VERSION

pytestmark = pytest.mark.once
PAGE_NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

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


def all_text() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


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


@pytest.mark.parametrize(
    "name", ["docs/tour.md", *(name for name in PAGE_NAMES if name.startswith("docs/tutorials/"))]
)
def test_what_a_walk_says_to_choose_is_on_the_pages(name: str) -> None:
    """In these pages only buttons, links and choices are bold."""
    sources = (path for end in ("html", "py") for path in (ROOT / "webapp").rglob(f"*.{end}"))
    shown = "\n".join(path.read_text("utf-8") for path in sources)
    for words in re.findall(r"\*\*([^*]+)\*\*", text_of(name)):
        label = " ".join(words.split()).rstrip(".")
        assert re.search(rf"[>\"',(\s]{re.escape(label)}[<\"'.]", shown), label


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


def test_the_examples_name_no_secret_but_the_stand_ins() -> None:
    for found in re.findall(r"pur_[0-9A-Za-z]{8,}|eyJ[0-9A-Za-z_-]{20,}", all_text()):
        raise AssertionError(f"a credential in the documents: {found[:8]}…")
