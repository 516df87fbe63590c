"""Sign-in by a provider: a real one, a process that speaks OpenID Connect on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from accounts_helpers import PASSWORD, SECRET_KEY, Browser, email_of
from flask import Flask
from oidc_provider import CLIENT_ID, CLIENT_SECRET
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.conftest import Person, add_people
from tests.soon import until
from webapp import create_app
from webapp.accounts import AuditEntry, User, find_company, find_user, scope_of
from webapp.accounts.people import accounts_of
from webapp.extensions import db

PEOPLE = (
    *(Person(email_of(one), "Acme", one) for one in ("admin", "expert", "operator")),
    Person(email_of("stranger"), "Other", "admin"),
)
START = "/login/oidc?next=/keys"
CLAIMS = {
    "sub": "4711",
    "email": "Ada@acme.example.com",
    "email_verified": True,
    "given_name": "Ada",
    "groups": ["everybody", "analysts"],
}


class Provider:
    """The running provider, and what it is to say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.says({})
        script = Path(__file__).with_name("oidc_provider.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(folder)])
        assert until((folder / "port").exists)
        self.issuer = f"http://127.0.0.1:{(folder / 'port').read_text()}"

    def says(self, claims: dict[str, Any], **odd: Any) -> None:
        said = {"claims": CLAIMS | claims, **odd}
        (self.folder / "claims.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.process.terminate()
    provider.process.wait(60)


@pytest.fixture
def provider(process: Provider) -> Provider:
    process.says({})
    return process


@pytest.fixture
def settings(provider: Provider) -> dict[str, str]:
    return {
        "OIDC_ISSUER": provider.issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_COMPANY": "Acme",
        "OIDC_ROLE_CLAIM": "groups",
        "OIDC_ROLES": "everybody=viewer, analysts=expert, heads=admin",
    }


@pytest.fixture
def app(make_app: Callable[..., Flask], settings: dict[str, str]) -> Flask:
    app = make_app(**settings)
    add_people(app, PEOPLE)
    return app


def way_back(browser: Browser, start: str = START) -> str:
    """Return the address the provider sends a browser back to."""
    away = browser.get(start)
    assert away.status_code == 302, away.text
    back = requests.get(away.location, allow_redirects=False, timeout=60).headers["Location"]
    parts = urlsplit(back)
    assert parts.netloc == "localhost"
    return f"{parts.path}?{parts.query}"


def visit(browser: Browser, start: str = START) -> TestResponse:
    return browser.get(way_back(browser, start))


def role_of(app: Flask, email: str, company_name: str = "Acme") -> str | None:
    with app.app_context():
        company = find_company(company_name)
        assert company is not None
        scopes = [scope_of(user, company.id) for user in accounts_of(email)]
        return next((scope.role for scope in scopes if scope), None)


def test_somebody_new_is_let_in_with_the_role_of_their_groups(app: Flask, browser: Browser) -> None:
    assert 'href="/login/oidc?next=/keys"' in browser.get("/login?next=/keys").text
    answer = visit(browser)
    assert (answer.status_code, answer.location) == (303, "/keys")
    page = browser.get("/account").text
    assert "Ada" in page
    assert "ada@acme.example.com (not confirmed)" in page
    assert role_of(app, "ada@acme.example.com") == "expert"
    assert visit(Browser(app)).location == "/keys"
    with app.app_context():
        users = db.session.scalars(select(User).where(User.email == "ada@acme.example.com")).all()
        assert len(users) == 1
        made = db.session.scalars(
            select(AuditEntry).where(AuditEntry.user_id == users[0].id).order_by(AuditEntry.id)
        )
        assert [(entry.action, entry.subject) for entry in made] == [
            ("joined", "as expert, by the provider"),
            ("signed in", "by provider"),
            ("signed in", "by provider"),
        ]


@pytest.mark.parametrize(
    "odd",
    [
        {"lies": {"iss": "https://another.example.com"}},
        {"lies": {"aud": "another site"}},
        {"lies": {"aud": [CLIENT_ID, "another site"], "azp": "another site"}},
        {"lies": {"exp": 1_700_000_000}},
        {"lies": {"exp": None}},
        {"lies": {"nonce": "of another sign-in"}},
        {"lies": {"nonce": None}},
        {"lies": {"sub": None}},
        {"signed_by": "another"},
        {"algorithm": "HS256"},
        {"algorithm": "none"},
        {"userinfo": {"sub": "somebody else"}},
        {"error": "access_denied"},
        {"metadata_issuer": "https://another.example.com"},
    ],
    ids=str,
)
def test_what_the_protocol_forbids_lets_nobody_in(
    app: Flask, browser: Browser, provider: Provider, odd: dict[str, Any]
) -> None:
    provider.says({}, **odd)
    answer = browser.get(START) if "metadata_issuer" in odd else visit(browser)
    assert answer.status_code == 403
    assert "sign-in did not work" in answer.text
    assert browser.get("/account").status_code == 303
    assert role_of(app, "ada@acme.example.com") is None
    provider.says({})
    assert visit(browser).status_code == 303, "and the next try is none the worse"


def test_a_sign_in_belongs_to_its_browser_and_works_once(app: Flask, browser: Browser) -> None:
    stolen = way_back(browser)
    assert Browser(app).get(stolen).status_code == 403
    assert browser.get(stolen.replace("state=", "state=x")).status_code == 403
    assert browser.get(stolen).status_code == 303
    assert browser.get(stolen).status_code == 403


def test_a_code_is_worth_nothing_without_the_verifier(app: Flask, browser: Browser) -> None:
    victim, thief = way_back(browser), Browser(app)
    code = victim.partition("code=")[2].partition("&")[0]
    own = way_back(thief)
    mixed = own.replace(own.partition("code=")[2].partition("&")[0], code)
    assert thief.get(mixed).status_code == 403


def test_a_role_follows_the_claim_and_ends_with_it(
    app: Flask, browser: Browser, provider: Provider
) -> None:
    visit(browser)
    for groups, role in ((["heads", "everybody"], "admin"), ("everybody", "viewer")):
        provider.says({"groups": groups})
        assert visit(browser).status_code == 303
        assert role_of(app, "ada@acme.example.com") == role
    provider.says({"groups": ["others"]})
    answer = visit(browser)
    assert answer.status_code == 403
    assert "no role here" in answer.text
    assert role_of(app, "ada@acme.example.com") is None
    assert browser.get("/account").status_code == 303


def test_the_last_admin_stays_one(app: Flask, provider: Provider) -> None:
    with app.app_context():
        operator = find_user(email_of("operator"))
        assert operator is not None
        company_id = operator.home_company_id
    admin = Browser(app)
    admin.sign_in(email_of("admin"))
    visit(admin)
    provider.says({"groups": ["everybody"]})
    visit(admin)
    assert role_of(app, email_of("admin")) == "viewer", "the operator is an admin still"
    operating = Browser(app)
    operating.sign_in(email_of("operator"))
    provider.says({"sub": "2", "groups": ["everybody"]})
    visit(operating)
    assert role_of(app, email_of("operator")) == "admin"
    assert company_id


def test_an_account_of_the_company_alone_is_found_by_its_address(
    app: Flask, browser: Browser, provider: Provider
) -> None:
    provider.says({"email": email_of("expert")})
    assert visit(browser).status_code == 303
    with app.app_context():
        assert len(accounts_of(email_of("expert"))) == 1
    provider.says({"email": email_of("expert"), "sub": "another person"})
    visit(Browser(app))
    with app.app_context():
        assert len(accounts_of(email_of("expert"))) == 2, "an address may be given to another"


@pytest.mark.parametrize("who", ["operator", "stranger"])
def test_whom_the_provider_does_not_vouch_for_is_not_touched(
    app: Flask, browser: Browser, provider: Provider, who: str
) -> None:
    provider.says({"email": email_of(who)})
    assert visit(browser).status_code == 303
    with app.app_context():
        theirs, made = accounts_of(email_of(who))
        assert theirs.provider_subject is None
        assert made.confined_to is not None
        assert not made.is_operator


def test_who_is_signed_in_says_themselves_that_it_is_them(app: Flask) -> None:
    browser = Browser(app)
    browser.sign_in(email_of("operator"))
    assert "Also sign in with Acme" in browser.get("/account").text
    assert visit(browser, "/login/oidc?next=/account").location == "/account"
    assert "sign in to this account with Acme" in browser.get("/account").text
    again = Browser(app)
    visit(again)
    assert email_of("operator") in again.get("/account").text


@pytest.mark.parametrize("claims", [{"email_verified": False}, {"email": ""}, {"email": 7}])
def test_an_address_nobody_vouches_for_is_no_address(
    browser: Browser, provider: Provider, claims: dict[str, Any]
) -> None:
    provider.says(claims)
    answer = visit(browser)
    assert answer.status_code == 403
    assert "email address" in answer.text


def test_who_was_switched_off_stays_out(app: Flask, browser: Browser) -> None:
    visit(browser)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["user", "disable", "ada@acme.example.com"]).exit_code == 0
    assert visit(browser).status_code == 403
    assert browser.get("/account").status_code == 303


def test_the_provider_answers_for_the_second_factor(app: Flask, browser: Browser) -> None:
    admin = Browser(app)
    admin.sign_in(email_of("admin"))
    admin.post("/members/second-factor", {"needed": "true"})
    visit(browser)
    assert browser.get("/account").status_code == 200


def test_who_joins_another_company_is_signed_in_by_the_provider_still(app: Flask) -> None:
    operator, stranger = Browser(app), Browser(app)
    operator.sign_in(email_of("operator"))
    visit(operator, "/login/oidc?next=/account")
    stranger.sign_in(email_of("stranger"))
    invited = {"email": email_of("operator"), "role": "viewer"}
    link = re.search(
        r"http://localhost(/invite/\w+)", stranger.post("/members/invite", invited).text
    )
    assert link
    stranger.post("/members/second-factor", {"needed": "true"})
    assert operator.post(link[1]).location == "/"
    assert "Other" in operator.get("/account").text


def test_a_provider_that_is_away_is_said_to_be(
    make_app: Callable[..., Flask], settings: dict[str, str]
) -> None:
    app = make_app(**settings | {"OIDC_ISSUER": "http://127.0.0.1:9"})
    answer = app.test_client().get(START)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text
    assert 'name="password"' in answer.text


def test_without_a_claim_admins_give_roles(
    make_app: Callable[..., Flask], settings: dict[str, str]
) -> None:
    app = make_app(**settings | {"OIDC_ROLE_CLAIM": "", "OIDC_ROLES": ""})
    add_people(app, PEOPLE)
    browser, admin = Browser(app), Browser(app)
    visit(browser)
    assert role_of(app, "ada@acme.example.com") == "viewer"
    admin.sign_in(email_of("admin"))
    with app.app_context():
        path = f"/members/{accounts_of('ada@acme.example.com')[0].id}"
    admin.post(f"{path}/role", {"role": "expert"})
    visit(browser)
    assert role_of(app, "ada@acme.example.com") == "expert"
    admin.post(f"{path}/remove")
    visit(browser)
    assert role_of(app, "ada@acme.example.com") is None
    assert browser.get("/login").location == "/invitations"


def test_without_a_provider_nobody_is_sent_to_one(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    assert "/login/oidc" not in client.get("/login").text
    assert client.get("/login/oidc").status_code == 404
    assert client.get("/login/oidc/callback").status_code == 404


@pytest.mark.parametrize("name", ["OIDC_CLIENT_ID", "OIDC_COMPANY"])
def test_half_a_provider_is_a_bad_setting(
    settings: dict[str, str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        create_app(settings | {name: "", "SECRET_KEY": SECRET_KEY, "REDIS_URL": "redis://x"})
    assert name in capsys.readouterr().err


def test_no_password_is_made_for_who_the_provider_lets_in(app: Flask, browser: Browser) -> None:
    visit(browser)
    assert Browser(app).sign_in("ada@acme.example.com", PASSWORD).status_code == 422
    assert Browser(app).sign_in("ada@acme.example.com", "!").status_code == 422
