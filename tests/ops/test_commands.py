"""The `flask` commands: what they print, where, and their exit codes."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from openpyxl import load_workbook

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, DEMO_SECRET, PASSWORD, add_people
from webapp.accounts import find_user

Run = Callable[..., Result]
SPAN = ("--start", "2026-01", "--end", "2026-03")
KEY = ("--partner-id", "70000001", "--user-key", DEMO_KEY)


@pytest.fixture
def bare_app(make_app: Callable[..., Flask], stand_in: RunningStandIn) -> Flask:
    """Return an application that nobody belongs to yet."""
    return make_app(PARTNER_API_URL=stand_in.url_template)


@pytest.fixture
def run(bare_app: Flask, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a runner of commands, the partner's secret in the environment."""
    monkeypatch.setenv("PARTNER_USER_SECRET", DEMO_SECRET)

    def run(*argv: str, **more: str) -> Result:
        return bare_app.test_cli_runner().invoke(args=argv, **more)

    return run


def make_user(run: Run, email: str = "ops@example.com", role: str = "operator") -> Result:
    argv = ("user", "create", email, "--company", "Operations", "--role", role, "--password-stdin")
    return run(*argv, input=f"{PASSWORD}\n")


def test_a_user_is_made(run: Run, bare_app: Flask) -> None:
    made = make_user(run)
    assert (made.exit_code, made.stderr) == (0, "")
    with bare_app.app_context():
        user = find_user("ops@example.com")
        assert user is not None
        assert user.is_operator


def test_a_user_who_exists_is_bad_input(run: Run) -> None:
    make_user(run)
    again = make_user(run)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "already exists" in again.stderr


def test_a_bad_user_is_a_sentence_per_field(run: Run) -> None:
    argv = ("user", "create", "nobody", "--company", " ", "--role", "viewer", "--password-stdin")
    refused = run(*argv, input="short\n")
    assert refused.exit_code == 2
    fields = [line.partition(":")[0] for line in refused.stderr.splitlines()]
    assert fields == ["email", "company", "password"]


def test_a_key_is_one_json_object_that_signs_in(run: Run, bare_app: Flask) -> None:
    make_user(run)
    made = run("key", "create", "ops@example.com", "--label", "nightly")
    key = json.loads(made.stdout)
    assert set(key) == {"api_key", "secret"}
    answer = bare_app.test_client().get("/api/v1/kinds", auth=(key["api_key"], key["secret"]))
    assert answer.status_code == 200


def test_a_key_for_nobody_is_bad_input(run: Run) -> None:
    refused = run("key", "create", "nobody@example.com")
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_a_report_is_made_by_whoever_sits_here(run: Run) -> None:
    made = run("report", "partner-use", *KEY, "--mode", "summary", "--format", "csv")
    assert made.exit_code == 0, made.stderr
    rows = list(csv.DictReader(io.StringIO(made.stdout)))
    assert rows[-1]["site_id"] == "TOTAL"
    assert "[########################]" in made.stderr
    assert "The report is done." in made.stderr
    assert DEMO_SECRET not in made.output


def test_a_report_is_made_in_the_only_company(run: Run) -> None:
    make_user(run)
    made = run("report", "partner-use", *KEY, "--mode", "summary", "--format", "json")
    document = json.loads(made.stdout)
    assert document["kind"] == "partner-use"
    assert document["complete"] is True


def test_a_monthly_report_goes_into_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "use.xlsx"
    months = ("--mode", "monthly", "--start", "2026-01", "--end", "2026-03", "--refresh")
    made = run("report", "partner-use", *KEY, *months, "--output", str(file))
    assert (made.exit_code, made.stdout) == (0, ""), made.stderr
    assert load_workbook(file).sheetnames
    assert [path.name for path in tmp_path.glob("*use*")] == ["use.xlsx"]


def test_a_secret_may_come_by_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTNER_USER_SECRET")
    argv = ("report", "partner-use", *KEY, "--mode", "summary", "--user-secret", "-")
    assert run(*argv, input=f"{DEMO_SECRET}\n").exit_code == 0


def test_a_report_without_its_secret_is_bad_input(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARTNER_USER_SECRET")
    refused = run("report", "partner-use", *KEY, "--mode", "summary")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("user_secret: ")


@pytest.mark.parametrize(
    "argv",
    [
        ("nothing",),
        ("partner-use", *KEY, "--mode", "monthly", "--start", "2024-13", "--end", "2025-01"),
        ("partner-use", *KEY, "--mode", "monthly", "--start", "2025-02", "--end", "2025-01"),
        ("partner-use", *KEY, "--mode", "yearly"),
        ("partner-use", "--mode", "summary"),
        ("partner-use", *KEY, "--mode", "summary", "--colour", "red"),
        ("partner-use", *KEY, "--mode", "summary", "--format", "docx"),
        ("partner-use", *KEY, "--mode", "summary", "--output", "/nowhere/at/all.csv"),
        ("partner-use", *KEY, "--mode", "summary", "--company", "Unknown"),
        ("partner-use", *KEY, "--mode", "summary", "--user", "nobody@example.com"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(run: Run, argv: tuple[str, ...]) -> None:
    refused = run("report", *argv)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr
    assert "Traceback" not in refused.stderr


def test_where_there_are_several_companies_one_must_be_named(run: Run, bare_app: Flask) -> None:
    add_people(bare_app)
    argv = ("report", "partner-use", *KEY, "--mode", "summary", "--format", "json")
    refused = run(*argv)
    assert refused.exit_code == 2
    assert "--company" in refused.stderr
    assert run(*argv, "--company", "acme").exit_code == 0
    assert run(*argv, "--user", "stranger@example.com").exit_code == 0


def test_a_wrong_secret_fails_with_its_reason(run: Run) -> None:
    failed = run("report", "partner-use", *KEY, "--mode", "summary", "--user-secret", "d3Jvbmc=")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "The report is failed." in failed.stderr
    assert "d3Jvbmc=" not in failed.stderr


def test_a_report_with_holes_is_incomplete_and_still_given(
    run: Run, stand_in: RunningStandIn
) -> None:
    stand_in.faults([{"method": "accounts.search", "site": 119500000004, "fault": "error:403007"}])
    made = run("report", "partner-use", *KEY, "--mode", "summary")
    assert made.exit_code == 3, made.stderr
    assert "TOTAL" in made.stdout


def test_months_are_made_to_expire(run: Run) -> None:
    assert run("report", "partner-use", *KEY, "--mode", "monthly", *SPAN).exit_code == 0
    assert json.loads(run("months", "expire", "--subject", "1").stdout) == {"expired": 0}
    narrow = (
        "--kind",
        "partner-use",
        "--subject",
        "70000001",
        "--from",
        "2026-02",
        "--to",
        "2026-02",
    )
    gone = json.loads(run("months", "expire", *narrow).stdout)["expired"]
    rest = json.loads(run("months", "expire").stdout)["expired"]
    assert rest == 3 * gone > 0


@pytest.mark.parametrize("argv", [("--from", "2024-13"), ("--kind", "none"), ("--to", "soon")])
def test_months_that_are_none_are_bad_input(run: Run, argv: tuple[str, ...]) -> None:
    refused = run("months", "expire", *argv)
    assert (refused.exit_code, refused.stdout) == (2, "")


@pytest.mark.parametrize("option", ["kind", "subject", "from", "to"])
def test_an_empty_option_does_not_make_all_months_expire(run: Run, option: str) -> None:
    assert run("report", "partner-use", *KEY, "--mode", "monthly", *SPAN).exit_code == 0
    refused = run("months", "expire", "--yes", f"--{option}", "")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"{option}: It is empty: write what is meant, or leave the option out.\n"
    )
    assert json.loads(run("months", "expire").stdout)["expired"] > 0


def test_the_embedded_database_is_made_when_it_is_missing(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    app = make_app(DATABASE_URL=f"sqlite:///{tmp_path}/fresh.sqlite3")
    made = app.test_cli_runner().invoke(args=["months", "expire"])
    assert json.loads(made.stdout) == {"expired": 0}


def test_a_database_that_is_away_is_a_sentence(make_app: Callable[..., Flask]) -> None:
    app = make_app(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    refused = app.test_cli_runner().invoke(args=["months", "expire"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("The database cannot be used")
    upgraded = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert upgraded.exit_code == 1
    assert upgraded.output.startswith("The database could not be brought up to date")


def test_the_kept_secret_key_is_its_owners_alone(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    make_app(SECRET_KEY="", DATA_DIR=str(tmp_path / "stack"))
    mode = (tmp_path / "stack" / "secret_key").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
