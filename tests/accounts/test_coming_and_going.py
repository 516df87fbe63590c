"""People who leave and come back, addresses and whose they are, forgotten passwords, deleting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from accounts_helpers import PASSWORD, Browser, Program, email_of
from flask import Flask
from sqlalchemy import select, update

from tests.mail_server import MailServer, running
from webapp.accounts import AuditEntry, User, create_user, find_company, find_user
from webapp.accounts.models import DELETED
from webapp.accounts.people import accounts_of
from webapp.extensions import db

SignedIn = Callable[[str], Browser]
NEW = "newcomer@elsewhere.example.com"
OTHER_PASSWORD = "quite another battery"


def invite(browser: Browser, email: str = NEW, role: str = "expert") -> str:
    answer = browser.post("/members/invite", {"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    found = re.search(r'id="invite-link">http://localhost(/invite/[^<]+)<', answer.text)
    assert found
    return found[1]


def joining(password: str = PASSWORD) -> dict[str, str]:
    return {"password": password, "password_again": password}


def new_password(password: str) -> dict[str, str]:
    return {"new_password": password, "new_password_again": password}


def path_in(text: str) -> str:
    found = re.search(r"http://localhost(/\S+)", text)
    assert found, text
    return found[1]


def post_page(browser: Browser, path: str, form: dict[str, str] | None = None) -> int:
    """Send a form with the token of the page it stands on; return the status."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(path).text)
    assert token
    return browser.client.post(path, data={"csrf_token": token[1]} | (form or {})).status_code


@pytest.fixture
def user_id(app: Flask) -> Callable[[str], str]:
    def find(email: str) -> str:
        with app.app_context():
            user = find_user(email if "@" in email else email_of(email))
            assert user is not None
            return user.id

    return find


@pytest.fixture
def mailing(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], MailServer]:
    """Return the mail server that the application's mails go to."""
    with running(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        url = f"smtp://reports:p%40ss%2Fword@127.0.0.1:{server.port}?tls=starttls"
        app.config["SMTP_URL"] = url
        yield server


# Leaving and coming back


def test_who_was_removed_joins_again_by_link(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    admin = signed_in("admin")
    admin.post(f"/members/{user_id('viewer')}/remove")
    path = invite(admin, email_of("viewer"))
    browser = Browser(app)
    assert f"/login?next={path}" in browser.get(path).text
    assert browser.sign_in(email_of("viewer"), next=path).location == path
    assert post_page(browser, path) == 303
    assert "<dd>expert</dd>" in browser.get("/account").text


def test_who_was_removed_joins_again_from_the_list(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    admin = signed_in("admin")
    admin.post(f"/members/{user_id('viewer')}/remove")
    invite(admin, email_of("viewer"))
    browser = Browser(app)
    browser.sign_in(email_of("viewer"))
    page = browser.get("/invitations").text
    assert "no company at the moment" in page
    join = re.search(r'action="(/invitations/[^"]+/join)"', page)
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert join
    assert token
    form = {"csrf_token": token[1]}
    stranger = signed_in("stranger")
    assert stranger.post(join[1]).status_code == 404
    assert browser.client.post(join[1], data=form).location == "/"
    assert "<dd>expert</dd>" in browser.get("/account").text
    assert browser.post(join[1]).status_code == 404


def test_the_list_of_invitations_needs_a_sign_in(browser: Browser) -> None:
    assert browser.get("/invitations").location.startswith("/login")
    assert browser.post("/invitations/x/join").location.startswith("/login")


def test_a_confined_account_that_was_removed_joins_its_company_again(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    admin, newcomer = signed_in("admin"), Browser(app)
    newcomer.post(invite(admin), joining())
    admin.post(f"/members/{user_id(NEW)}/remove")
    path = invite(admin)
    answer = Browser(app).post(path, joining(OTHER_PASSWORD))
    assert answer.status_code == 422
    assert "sign in to join" in answer.text
    assert newcomer.get("/invitations").status_code == 200
    assert post_page(newcomer, path) == 303


# Whose an address is


def test_an_account_made_by_a_link_works_in_that_company_alone(
    app: Flask, signed_in: SignedIn
) -> None:
    made = Browser(app)
    made.post(invite(signed_in("admin")), joining())
    path = invite(signed_in("stranger"))
    assert "belongs to another company" in made.get(path).text
    assert "Join</button>" not in made.get(path).text
    assert made.post(path, joining()).status_code == 200
    assert "Other" not in made.get("/invitations").text
    # The same address has an account of its own there, with a password of its own.
    assert Browser(app).post(path, joining(OTHER_PASSWORD)).status_code == 303
    for password, company in ((PASSWORD, "Acme"), (OTHER_PASSWORD, "Other")):
        browser = Browser(app)
        browser.sign_in(NEW, password)
        assert f"<dd>{company}</dd>" in browser.get("/account").text
    with app.app_context():
        assert len(accounts_of(NEW)) == 2


def test_the_operator_confirms_an_address(app: Flask, signed_in: SignedIn) -> None:
    made = Browser(app)
    made.post(invite(signed_in("admin")), joining())
    runner = app.test_cli_runner()
    assert "is confirmed" in runner.invoke(args=["user", "confirm", NEW]).output
    path = invite(signed_in("stranger"))
    assert made.post(path).status_code == 303
    assert "<dd>Other</dd>" in made.get("/account").text


def test_of_two_accounts_of_an_address_one_can_be_confirmed(
    app: Flask, signed_in: SignedIn
) -> None:
    for who, password in (("admin", PASSWORD), ("stranger", OTHER_PASSWORD)):
        Browser(app).post(invite(signed_in(who)), joining(password))
    runner = app.test_cli_runner()
    unclear = runner.invoke(args=["user", "confirm", NEW])
    assert unclear.exit_code == 2
    assert "several accounts" in unclear.output
    assert runner.invoke(args=["user", "confirm", NEW, "--company", "Other"]).exit_code == 0
    second = runner.invoke(args=["user", "confirm", NEW, "--company", "Acme"])
    assert second.exit_code == 1
    assert "confirmed already" in second.output


def test_an_invitation_by_mail_is_seen_by_its_reader_alone(
    app: Flask, signed_in: SignedIn, mailing: MailServer
) -> None:
    answer = signed_in("admin").post("/members/invite", {"email": NEW, "role": "expert"})
    assert answer.status_code == 201
    assert "/invite/" not in answer.text.replace('action="/members/invite"', "")
    path = path_in(mailing.text())
    made = Browser(app)
    assert made.post(path, joining()).status_code == 303
    assert "not confirmed" not in made.get("/account").text
    signed_in("stranger").post("/members/invite", {"email": NEW, "role": "viewer"})
    assert made.post(path_in(mailing.text())).status_code == 303
    assert "<dd>Other</dd>" in made.get("/account").text


def test_an_invitation_that_no_mail_tells_of_is_none(
    app: Flask, signed_in: SignedIn, mailing: MailServer
) -> None:
    mailing.refuses = True
    admin = signed_in("admin")
    assert admin.post("/members/invite", {"email": NEW, "role": "expert"}).status_code == 503
    assert NEW not in admin.get("/members").text


def test_an_address_is_confirmed_by_mail(
    app: Flask, signed_in: SignedIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Browser(app)
    made.post(invite(signed_in("admin")), joining())
    assert made.post("/account/confirm").status_code == 409
    with running(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        app.config["SMTP_URL"] = (
            f"smtp://reports:p%40ss%2Fword@127.0.0.1:{server.port}?tls=starttls"
        )
        assert "Confirm by mail" in made.get("/account").text
        assert made.post("/account/confirm").status_code == 303
        path = path_in(server.text())
    assert "not confirmed" in made.get("/account").text
    assert post_page(Browser(app), path) == 303
    assert "not confirmed" not in made.get("/account").text
    assert Browser(app).get(path).status_code == 404


# Forgotten passwords


def test_a_new_password_comes_by_mail(app: Flask, signed_in: SignedIn, mailing: MailServer) -> None:
    signed_in_before = signed_in("viewer")
    visitor = Browser(app)
    with visitor.post("/forgot", {"email": email_of("viewer")}) as answer:
        told = answer.text
    path = path_in(mailing.text())
    with visitor.post("/forgot", {"email": "nobody@acme.example.com"}) as answer:
        # Form tokens differ where a second passes between the two.
        token = r'value="[^"]+"|"X-CSRFToken": "[^"]+"'
        assert re.sub(token, "", answer.text) == re.sub(token, "", told)
    assert mailing.mails == []
    assert post_page(visitor, path, new_password("short")) == 422
    assert post_page(visitor, path, new_password(OTHER_PASSWORD)) == 303
    assert visitor.get(path).status_code == 404
    assert signed_in_before.get("/account").location.startswith("/login")
    assert Browser(app).sign_in(email_of("viewer")).status_code == 422
    assert Browser(app).sign_in(email_of("viewer"), OTHER_PASSWORD).status_code == 303


def test_mails_to_one_address_are_limited(app: Flask, mailing: MailServer) -> None:
    visitor = Browser(app)
    statuses = []
    for _ in range(6):
        with visitor.post("/forgot", {"email": email_of("viewer")}) as answer:
            statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [429]
    assert len(mailing.mails) == 5


def test_without_mail_the_page_says_whom_to_ask(app: Flask) -> None:
    visitor = Browser(app)
    assert "An admin of your company" in visitor.get("/forgot").text
    assert "An admin of your company" in visitor.post("/forgot", {"email": "a@b.c"}).text


def test_an_admin_makes_a_link_for_an_own_member(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    answer = signed_in("admin").post(f"/members/{user_id('viewer')}/password-link")
    assert answer.status_code == 201
    found = re.search(r'id="reset-link">http://localhost(/reset/[^<]+)<', answer.text)
    assert found
    assert post_page(Browser(app), found[1], new_password(OTHER_PASSWORD)) == 303
    assert Browser(app).sign_in(email_of("viewer"), OTHER_PASSWORD).status_code == 303


@pytest.mark.parametrize("path", ["password-link", "switch", "delete"])
def test_nobody_decides_over_an_account_that_works_elsewhere(
    signed_in: SignedIn,
    user_id: Callable[[str], str],
    give: Callable[[str, str, str], None],
    path: str,
) -> None:
    give("expert", "Other", "viewer")
    admin = signed_in("admin")
    for who in ("expert", "operator"):
        answer = admin.post(f"/members/{user_id(who)}/{path}")
        assert answer.status_code == 409
        assert "does not belong to your company alone" in answer.text
    stranger, viewer = signed_in("stranger"), signed_in("viewer")
    assert stranger.post(f"/members/{user_id('viewer')}/{path}").status_code == 404
    assert viewer.post(f"/members/{user_id('viewer')}/{path}").status_code == 403


# Switched off and deleted


def test_an_account_is_switched_off_and_on(
    app: Flask,
    signed_in: SignedIn,
    user_id: Callable[[str], str],
    program: Callable[..., Program],
) -> None:
    admin, browser, caller = signed_in("admin"), signed_in("viewer"), program("viewer")
    users = "/api/accounts/v1/users"
    assert admin.post(f"/members/{user_id('viewer')}/switch", {"on": "false"}).status_code == 303
    assert "(switched off)" in admin.get("/members").text
    assert browser.get("/account").location.startswith("/login")
    assert caller.client.get(users, **caller.basic).status_code == 401
    assert Browser(app).sign_in(email_of("viewer")).status_code == 422
    assert admin.post(f"/members/{user_id('viewer')}/switch", {"on": "true"}).status_code == 303
    assert caller.client.get(users, **caller.basic).status_code == 200
    assert Browser(app).sign_in(email_of("viewer")).status_code == 303


def test_the_last_admin_is_neither_switched_off_nor_deleted(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    with app.app_context():
        create_user("helper@other.example.com", "Other", "viewer", PASSWORD)
    stranger = signed_in("stranger")
    for path in ("switch", "delete"):
        answer = stranger.post(f"/members/{user_id('stranger')}/{path}", {"on": "false"})
        assert answer.status_code == 409
        assert "last admin" in answer.text
    assert stranger.get("/members").status_code == 200


def test_an_admin_who_is_switched_off_does_not_count(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    with app.app_context():
        create_user("second@other.example.com", "Other", "admin", PASSWORD)
    stranger = signed_in("stranger")
    other = user_id("second@other.example.com")
    assert stranger.post(f"/members/{other}/switch", {"on": "false"}).status_code == 303
    me = user_id("stranger")
    assert stranger.post(f"/members/{me}/role", {"role": "viewer"}).status_code == 409


def test_a_deleted_member_is_a_former_member(
    app: Flask,
    signed_in: SignedIn,
    user_id: Callable[[str], str],
    program: Callable[..., Program],
) -> None:
    admin, browser, caller = signed_in("admin"), signed_in("viewer"), program("viewer")
    gone = user_id("viewer")
    admin.post(f"/members/{gone}/role", {"role": "expert"})
    assert admin.post(f"/members/{gone}/delete").status_code == 303
    assert browser.get("/account").location.startswith("/login")
    assert caller.client.get("/api/accounts/v1/users", **caller.basic).status_code == 401
    assert "is deleted" in admin.get("/members").text
    page = admin.get("/audit").text
    assert email_of("viewer") not in page
    assert "a former member as expert" in page
    assert "account deleted" in page
    assert email_of("viewer") not in admin.get("/members").text
    assert email_of("viewer") not in admin.get("/keys").text
    assert Browser(app).sign_in(email_of("viewer")).status_code == 422
    # The address is free: whoever has it now is somebody else.
    Browser(app).post(invite(admin, email_of("viewer")), joining(OTHER_PASSWORD))
    assert user_id("viewer") != gone


def test_deleting_touches_no_other_account_of_the_address(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    for who, password in (("admin", PASSWORD), ("stranger", OTHER_PASSWORD)):
        Browser(app).post(invite(signed_in(who)), joining(password))
    with app.app_context():
        company = find_company("Acme")
        mine = find_user(NEW, company)
        assert mine is not None
        gone = mine.id
    assert signed_in("admin").post(f"/members/{gone}/delete").status_code == 303
    assert Browser(app).sign_in(NEW, OTHER_PASSWORD).status_code == 303
    assert NEW in signed_in("stranger").get("/audit").text


# The operator's commands


def test_the_operator_looks_after_accounts_by_command(
    app: Flask, program: Callable[..., Program]
) -> None:
    caller, runner, email = program("viewer"), app.test_cli_runner(), email_of("viewer")

    def works() -> int:
        return caller.client.get("/api/accounts/v1/users", **caller.basic).status_code

    listed = runner.invoke(args=["user", "list"])
    assert listed.exit_code == 0, listed.output
    lines = [json.loads(line) for line in listed.output.splitlines()]
    [mine] = [line for line in lines if line["email"] == email]
    assert mine["roles"] == {"Acme": "viewer"}
    assert (mine["status"], mine["confirmed"], mine["operator"]) == ("ACTIVE", True, False)
    assert runner.invoke(args=["user", "disable", email]).exit_code == 0
    assert works() == 401
    assert runner.invoke(args=["user", "enable", email]).exit_code == 0
    assert works() == 200
    link = runner.invoke(args=["user", "reset", email, "--url", "http://localhost/"]).output
    assert post_page(Browser(app), path_in(link), new_password(OTHER_PASSWORD)) == 303
    refused = runner.invoke(args=["user", "delete", email], input="n\n")
    assert refused.exit_code == 1
    assert works() == 200
    assert runner.invoke(args=["user", "delete", email, "--yes"]).exit_code == 0
    assert works() == 401
    with app.app_context():
        states = db.session.scalars(select(User.status).where(User.status == DELETED))
        assert list(states) == [DELETED]
        assert (
            db.session.scalar(select(AuditEntry.id).where(AuditEntry.subject.contains(email)))
            is None
        )
    unknown = runner.invoke(args=["user", "disable", "nobody@x.example.com"])
    assert unknown.exit_code == 2
    assert "There is no user" in unknown.output


def test_a_link_ends_with_the_sessions_it_would_end(
    app: Flask, user_id: Callable[[str], str]
) -> None:
    runner = app.test_cli_runner()
    args = ["user", "reset", email_of("viewer"), "--url", "http://localhost"]
    for nowhere in ("", "localhost:5000"):
        refused = runner.invoke(args=[*args[:-1], nowhere])
        assert (refused.exit_code, "https://reports.example.com" in refused.output) == (2, True)
    app.config["PUBLIC_URL"] = "https://reports.acme.example/"
    link = runner.invoke(args=args[:3]).output
    assert link.startswith("https://reports.acme.example/reset/")
    path = path_in(runner.invoke(args=args).output)
    assert Browser(app).get(path).status_code == 200
    with app.app_context():
        db.session.execute(update(User).values(session_epoch=User.session_epoch + 1))
        db.session.commit()
    assert Browser(app).get(path).status_code == 404
    assert Browser(app).get("/reset/nonsense").status_code == 404
    assert Browser(app).get(path.replace("/reset/", "/confirm/")).status_code == 404
