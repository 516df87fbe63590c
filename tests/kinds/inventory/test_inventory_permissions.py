"""Who may do what: owner, colleague, viewer, stranger, somebody whose access was withdrawn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.kinds.inventory.inventory_helpers import (
    DATA,
    PERIODS,
    REPORTS,
    UNITS,
    Caller,
    entry,
    make_demo_for,
    run_waiting,
)
from webapp.accounts import Membership, find_user
from webapp.accounts.sessions import make_token
from webapp.extensions import db
from webapp.kinds.inventory import signing
from webapp.lib.moments import utcnow

Callers = Callable[[str], Caller]
ROUTES = (
    ("GET", PERIODS, "viewer"),
    ("GET", "/api/v1.0/reporting-periods", "viewer"),
    ("GET", PERIODS + "/{period}", "viewer"),
    ("GET", UNITS, "viewer"),
    ("GET", UNITS + "/{unit}", "viewer"),
    ("GET", REPORTS, "expert"),
    ("POST", REPORTS, "expert"),
    ("GET", REPORTS + "/{report}", "expert"),
    (
        "GET",
        REPORTS + "/{report}/presigned-url?fileType=XLSX&reportType=DATA_DUMP",
        "expert",
    ),
    ("DELETE", REPORTS + "/{report}", "expert"),
    ("GET", DATA + "/periods", "viewer"),
    ("GET", DATA + "/units", "viewer"),
    ("GET", DATA + "/entries", "viewer"),
    ("POST", DATA + "/periods", "admin"),
    ("POST", DATA + "/units", "admin"),
    ("POST", DATA + "/entries", "admin"),
    ("DELETE", DATA + "/entries/demo-2025-01-1-1", "admin"),
)
RANKS = {"viewer": 0, "colleague": 1, "owner": 2}
NEEDED = {"viewer": 0, "expert": 1, "admin": 2}


@pytest.fixture
def ids(caller: Callers, made: dict[str, Any]) -> dict[str, str]:
    period, unit = caller("colleague").places()
    return {"period": period, "unit": unit, "report": made["id"]}


def ask(who: Caller, method: str, path: str, ids: dict[str, str]) -> Any:
    body: Any = None
    if method == "POST":
        body = {
            REPORTS: {"reportingPeriodId": ids["period"], "organizationUnitId": ids["unit"]},
            DATA + "/entries": [entry()],
        }.get(path, [])
    return who.send(method, path.format(**ids), json=body)


@pytest.mark.parametrize("who", ["owner", "colleague", "viewer"])
def test_a_role_reaches_what_it_may(caller: Callers, ids: dict[str, str], who: str) -> None:
    theirs = caller(who)
    for method, path, needed in ROUTES:
        answer = ask(theirs, method, path, ids)
        allowed = {200, 204} if RANKS[who] >= NEEDED[needed] else {403}
        assert answer.status_code in allowed, (method, path, answer.text)


def test_nobody_gets_in_without_signing_in(app: Flask, ids: dict[str, str]) -> None:
    client = app.test_client()
    who = Caller(lambda verb, address, **more: client.open(address, method=verb, **more))
    for method, path, _ in ROUTES:
        assert ask(who, method, path, ids).status_code == 401, (method, path)


def test_a_stranger_finds_nothing_of_another_company(caller: Callers, ids: dict[str, str]) -> None:
    stranger = caller("stranger")
    for path in (PERIODS + "/{period}", UNITS + "/{unit}", REPORTS + "/{report}"):
        assert stranger.get(path.format(**ids)).status_code == 404
    assert stranger.delete(f"{REPORTS}/{ids['report']}").status_code == 404
    assert stranger.url(ids["report"]).status_code == 404
    assert stranger.get(REPORTS).json == []
    assert stranger.get(PERIODS).json == []
    assert ids["unit"] not in {unit["id"] for unit in stranger.get(UNITS).json}


def test_a_report_of_another_companys_period_or_unit_is_404(
    app: Flask, caller: Callers, ids: dict[str, str]
) -> None:
    make_demo_for(app, "stranger")
    stranger = caller("stranger")
    for name, value in (
        ("reportingPeriodId", ids["period"]),
        ("organizationUnitId", ids["unit"]),
        ("baseReportingPeriodId", ids["period"]),
    ):
        answer = stranger.start(**{name: value})
        assert answer.status_code == 404, answer.text
    assert stranger.get(REPORTS).json == []


def test_a_stranger_cannot_move_our_entries(caller: Callers, ids: dict[str, str]) -> None:
    stranger = caller("stranger")
    body = entry(period_id=ids["period"], unit_id=ids["unit"])
    answer = stranger.post(f"{DATA}/entries", [body])
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"entries.0.period_id", "entries.0.unit_id"}
    assert stranger.delete(f"{DATA}/entries/demo-2025-01-1-1").status_code == 404
    assert stranger.get(f"{DATA}/entries").json == {"entries": []}


def test_withdrawn_access_ends_the_token_at_once(
    app: Flask, caller: Callers, ids: dict[str, str]
) -> None:
    colleague = caller("colleague")
    assert colleague.get(f"{REPORTS}/{ids['report']}").status_code == 200
    withdraw(app, "colleague")
    assert colleague.get(f"{REPORTS}/{ids['report']}").status_code == 401
    assert colleague.url(ids["report"]).status_code == 401


def withdraw(app: Flask, who: str) -> None:
    with app.app_context():
        user = find_user(f"{who}@example.com")
        assert user is not None
        db.session.delete(db.session.get_one(Membership, (user.id, user.home_company_id)))
        db.session.commit()


def test_a_token_of_a_made_up_session_is_refused(app: Flask, ids: dict[str, str]) -> None:
    with app.app_context():
        user = find_user("colleague@example.com")
        assert user is not None
        token = make_token(user.id, user.home_company_id, ids["report"])
    answer = app.test_client().get(REPORTS, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


# Signed addresses


@pytest.fixture
def address(caller: Callers, made: dict[str, Any]) -> str:
    """Return a good address of the inventory's workbook, as path and query."""
    url = caller("colleague").url(made["id"]).json["url"]
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("http", "localhost")
    return f"{parts.path}?{parts.query}"


def refused(app: Flask, address: str) -> str:
    """Fetch an address and return the short text of its refusal."""
    answer = app.test_client().get(address)
    assert answer.status_code == 403, answer.text
    assert answer.mimetype == "text/plain"
    assert len(answer.text) < 200
    assert not answer.data.startswith(b"PK")
    return str(answer.text)


def test_a_signed_address_needs_no_sign_in(app: Flask, address: str) -> None:
    answer = app.test_client().get(address)
    assert answer.status_code == 200
    assert answer.data.startswith(b"PK")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert ".xlsx" in answer.headers["Content-Disposition"]


def test_an_altered_or_incomplete_address_is_refused(app: Flask, address: str) -> None:
    token = address.partition("token=")[2]
    for part in token.split("."):
        # Its first letter: some bits of the last one count for nothing.
        other = ("1" if part[0] != "1" else "2") + part[1:]
        assert "altered" in refused(app, address.replace(part, other))
        assert "altered" in refused(app, address.replace(part, "é\x00"))
        assert "altered" in refused(app, address.replace(f".{part}", "").replace(f"{part}.", ""))
    assert "altered" in refused(app, address.partition("?")[0])


def test_an_address_of_one_file_does_not_fetch_another(
    app: Flask, caller: Callers, made: dict[str, Any], address: str
) -> None:
    other = caller("colleague").url(made["id"], "ISO14064", "PDF").json["url"]
    mixed = f"{urlsplit(other).path}?{urlsplit(address).query}"
    assert "altered" in refused(app, mixed)


def test_an_address_does_not_fetch_another_companys_file(
    app: Flask, caller: Callers, address: str
) -> None:
    make_demo_for(app, "stranger")
    stranger = caller("stranger")
    report = stranger.start().json
    run_waiting(app)
    theirs = urlsplit(stranger.url(report["id"]).json["url"])
    assert "altered" in refused(app, f"{urlsplit(address).path}?{theirs.query}")


def test_an_address_expires_after_five_minutes(
    app: Flask, caller: Callers, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [utcnow().replace(microsecond=0)]
    monkeypatch.setattr(signing, "utcnow", lambda: clock[0])
    address = caller("colleague").url(made["id"]).json["url"]
    clock[0] += timedelta(seconds=299)
    assert app.test_client().get(address).status_code == 200
    clock[0] += timedelta(seconds=1)
    assert "expired" in refused(app, address)


def test_a_running_transfer_finishes_after_its_address_expired(
    app: Flask, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = app.test_client().get(address, buffered=False)
    later = utcnow() + timedelta(hours=1)
    monkeypatch.setattr(signing, "utcnow", lambda: later)
    assert len(answer.data) == int(answer.headers["Content-Length"])
    assert "expired" in refused(app, address)


def test_an_address_ends_with_the_access_it_was_made_with(app: Flask, address: str) -> None:
    withdraw(app, "colleague")
    assert "withdrawn" in refused(app, address)


def test_an_address_outlives_the_change_of_the_secret_key(
    app: Flask, make_app: Callable[..., Flask], address: str
) -> None:
    rotated = make_app(
        SECRET_KEY="another long key, 9876543210", SECRET_KEY_PREVIOUS=app.config["SECRET_KEY"]
    )
    assert rotated.test_client().get(address).status_code == 200
    foreign = make_app(SECRET_KEY="another long key, 9876543210")
    assert "altered" in refused(foreign, address)


def test_an_address_of_a_deleted_file_is_a_short_404(
    app: Flask, caller: Callers, made: dict[str, Any], address: str
) -> None:
    assert caller("colleague").delete(f"{REPORTS}/{made['id']}").status_code == 200
    answer = app.test_client().get(address)
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")


def test_an_address_only_reads(app: Flask, address: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert app.test_client().open(address, method=method).status_code in {400, 405}


def test_the_download_is_in_the_audit_log(
    app: Flask, client_for: Callable[[str], Any], address: str
) -> None:
    app.test_client().get(address)
    text = client_for("owner").get("/audit").text
    assert "DATA_DUMP" in text
