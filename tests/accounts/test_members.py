"""Members, invitations and the audit log: who may grant, and what a company never loses."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from accounts_helpers import PASSWORD, Browser, Program, email_of
from flask import Flask
from sqlalchemy import select, update

from webapp.accounts import Company, create_user, find_user, scope_of, zone_of
from webapp.accounts.invites import make_invite
from webapp.accounts.members import remove_member
from webapp.accounts.models import Invite
from webapp.extensions import db
from webapp.lib.moments import utcnow

SignedIn = Callable[[str], Browser]
NEW = "newcomer@elsewhere.example.com"


@pytest.fixture
def user_id(app: Flask) -> Callable[[str], str]:
    def find(who: str) -> str:
        with app.app_context():
            user = find_user(email_of(who))
            assert user is not None
            return user.id

    return find


def invite(browser: Browser, email: str = NEW, role: str = "expert") -> str:
    """Return the path of a new invitation."""
    answer = browser.post("/members/invite", {"email": email, "role": role})
    assert answer.status_code == 201, answer.text
    found = re.search(r'id="invite-link">http://localhost(/invite/[^<]+)<', answer.text)
    assert found
    return found[1]


def joining(password: str = PASSWORD) -> dict[str, str]:
    return {"password": password, "password_again": password, "first_name": "New", "last_name": "C"}


@pytest.mark.parametrize(
    ("who", "status"), [("viewer", 403), ("expert", 403), ("admin", 200), ("operator", 200)]
)
def test_only_admins_see_members_and_the_audit_log(
    signed_in: SignedIn, who: str, status: int
) -> None:
    for path in ("/members", "/audit"):
        assert signed_in(who).get(path).status_code == status


def test_a_visitor_sees_nothing_of_a_company(browser: Browser) -> None:
    for path in ("/members", "/audit", "/keys", "/account"):
        assert browser.get(path).location.startswith("/login?next=")
    for path in ("/members/invite", "/keys", "/company", "/account/password"):
        assert browser.post(path).location == "/login"


@pytest.mark.parametrize("who", ["viewer", "expert"])
def test_nobody_below_admin_changes_members(
    signed_in: SignedIn, user_id: Callable[[str], str], who: str
) -> None:
    browser, me = signed_in(who), user_id(who)
    for path in ("/members/invite", f"/members/{me}/role", f"/members/{me}/remove"):
        form = {"role": "admin", "email": "friend@acme.example.com"}
        assert browser.post(path, form).status_code == 403


def test_an_admin_lists_only_the_own_company(signed_in: SignedIn) -> None:
    page = signed_in("admin").get("/members").text
    assert email_of("viewer") in page
    assert email_of("stranger") not in page


def test_an_admin_of_another_company_changes_nobody_here(
    signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    stranger, viewer = signed_in("stranger"), user_id("viewer")
    assert stranger.post(f"/members/{viewer}/role", {"role": "admin"}).status_code == 404
    assert stranger.post(f"/members/{viewer}/remove").status_code == 404
    assert stranger.post("/members/nonsense/remove").status_code == 404


def test_a_granted_role_counts_at_once(
    signed_in: SignedIn, user_id: Callable[[str], str], program: Callable[..., Program]
) -> None:
    caller = program("viewer")
    answer = signed_in("admin").post(f"/members/{user_id('viewer')}/role", {"role": "expert"})
    assert answer.status_code == 303
    me = caller.client.get(f"/api/accounts/v1/users/{caller.user_id}", **caller.basic).json
    assert me["isReadonly"] is False


def test_an_unknown_role_is_refused(signed_in: SignedIn, user_id: Callable[[str], str]) -> None:
    browser = signed_in("admin")
    for role in ("operator", "owner", ""):
        answer = browser.post(f"/members/{user_id('viewer')}/role", {"role": role})
        assert answer.status_code == 422


def test_withdrawn_access_ends_keys_and_browser(
    signed_in: SignedIn, user_id: Callable[[str], str], program: Callable[..., Program]
) -> None:
    browser, caller = signed_in("viewer"), program("viewer")
    assert signed_in("admin").post(f"/members/{user_id('viewer')}/remove").status_code == 303
    assert browser.get("/account").status_code == 303
    assert caller.client.get("/api/accounts/v1/users", **caller.basic).status_code == 401


def test_the_last_admin_stays(signed_in: SignedIn, user_id: Callable[[str], str]) -> None:
    stranger, me = signed_in("stranger"), user_id("stranger")
    for path, form in ((f"/members/{me}/remove", {}), (f"/members/{me}/role", {"role": "viewer"})):
        answer = stranger.post(path, form)
        assert answer.status_code == 409
        assert "last admin" in answer.text
    assert stranger.get("/members").status_code == 200


def test_an_admin_may_go_when_another_stays(
    signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    browser = signed_in("admin")
    assert browser.post(f"/members/{user_id('admin')}/remove").location == "/"
    assert browser.get("/members").status_code == 303


def test_a_newcomer_joins_by_link_and_is_signed_in(app: Flask, signed_in: SignedIn) -> None:
    path = invite(signed_in("admin"))
    newcomer = Browser(app)
    assert "Acme" in newcomer.get(path).text
    assert newcomer.post(path, joining()).status_code == 303
    page = newcomer.get("/account").text
    assert "New C" in page
    assert "<dd>expert</dd>" in page
    assert Browser(app).sign_in(NEW).status_code == 303


def test_a_link_works_once(app: Flask, signed_in: SignedIn) -> None:
    path = invite(signed_in("admin"))
    Browser(app).post(path, joining())
    late = Browser(app)
    assert late.get(path).status_code == 404
    assert late.post(path, joining("taken over by me")).status_code == 404
    assert Browser(app).sign_in(NEW).status_code == 303


def test_an_old_a_withdrawn_and_an_unknown_link_are_the_same(
    app: Flask, signed_in: SignedIn
) -> None:
    admin = signed_in("admin")
    withdrawn, old = invite(admin, "a@b.example.com"), invite(admin)
    with app.app_context():
        row = db.session.scalar(select(Invite).where(Invite.email == "a@b.example.com"))
        assert row is not None
        invite_id = row.id
    assert signed_in("stranger").post(f"/members/invites/{invite_id}/withdraw").status_code == 404
    assert admin.post(f"/members/invites/{invite_id}/withdraw").status_code == 303
    with app.app_context():
        db.session.execute(update(Invite).values(expires_at=utcnow() - timedelta(seconds=1)))
        db.session.commit()
    for path in (withdrawn, old, "/invite/unknown", "/invite/%00"):
        assert Browser(app).get(path).status_code == 404
    assert NEW not in admin.get("/members").text


def test_an_invitation_is_listed_while_it_works(app: Flask, signed_in: SignedIn) -> None:
    admin = signed_in("admin")
    path = invite(admin)
    assert NEW in admin.get("/members").text.split("<h2>Open invitations")[1]
    assert NEW not in signed_in("stranger").get("/members").text
    Browser(app).post(path, joining())
    assert "Open invitations" not in admin.get("/members").text


def test_a_new_invitation_replaces_the_one_before(app: Flask, signed_in: SignedIn) -> None:
    admin = signed_in("admin")
    first, second = invite(admin), invite(admin, role="viewer")
    assert Browser(app).get(first).status_code == 404
    assert Browser(app).get(second).status_code == 200


def test_a_bad_new_password_is_said_and_the_link_still_works(
    app: Flask, signed_in: SignedIn
) -> None:
    path = invite(signed_in("admin"))
    newcomer = Browser(app)
    answer = newcomer.post(path, joining("short"))
    assert answer.status_code == 422
    assert "at least 10 characters" in answer.text
    assert 'value="New"' in answer.text
    assert newcomer.post(path, joining() | {"password_again": "other"}).status_code == 422
    assert newcomer.post(path, joining()).status_code == 303


def test_a_user_of_another_company_joins_with_the_account_they_have(
    app: Flask, signed_in: SignedIn, program: Callable[..., Program]
) -> None:
    path = invite(signed_in("stranger"), email_of("expert"))
    assert "/login?next=/invite/" in Browser(app).get(path).text
    browser = signed_in("expert")
    assert browser.post(path).status_code == 303
    assert "<dd>Other</dd>" in browser.get("/account").text
    caller = program("expert")
    names = caller.client.get("/api/accounts/v1/companies", **caller.basic).json
    assert [company["name"] for company in names] == ["Acme", "Other"]
    me = caller.client.get(f"/api/accounts/v1/users/{caller.user_id}", **caller.basic).json
    assert me["isConsultant"] is True


def test_nobody_joins_with_another_ones_invitation(signed_in: SignedIn) -> None:
    path = invite(signed_in("stranger"), email_of("expert"))
    browser = signed_in("viewer")
    assert f"signed in as {email_of('viewer')}" in browser.get(path).text
    browser.post(path, joining())
    assert "Other" not in browser.get("/account").text


def test_a_link_tells_nobody_whether_its_address_has_an_account(
    app: Flask, signed_in: SignedIn
) -> None:
    stranger, pages = signed_in("stranger"), []
    for email in (email_of("expert"), "nobody@elsewhere.example.com"):
        path = invite(stranger, email)
        page = re.sub(r'value="[^"]+"|X-CSRFToken[^>]+', "", Browser(app).get(path).text)
        pages.append(page.replace(email, "").replace(path.rpartition("/")[2], ""))
        assert Browser(app).post(path, joining("taken over by me")).status_code == 303
    assert pages[0] == pages[1]


def test_an_invitation_touches_no_account_of_its_address(app: Flask, signed_in: SignedIn) -> None:
    path = invite(signed_in("stranger"), email_of("expert"))
    Browser(app).post(path, joining("taken over by me"))
    owner, taker = Browser(app), Browser(app)
    assert owner.sign_in(email_of("expert")).status_code == 303
    assert "<dd>Acme</dd>" in owner.get("/account").text
    assert taker.sign_in(email_of("expert"), "taken over by me").status_code == 303
    page = taker.get("/account").text
    assert "<dd>Other</dd>" in page
    assert "not confirmed" in page
    assert "Acme" not in page


@pytest.mark.parametrize(
    "form",
    [
        {"email": "no email", "role": "viewer"},
        {"email": "x@y.example.com", "role": "operator"},
        {"email": "viewer@acme.example.com", "role": "expert"},
        {"email": "\x00@y.example.com", "role": "viewer"},
    ],
)
def test_a_bad_invitation_says_why(signed_in: SignedIn, form: dict[str, str]) -> None:
    answer = signed_in("admin").post("/members/invite", form)
    assert answer.status_code == 422
    assert "field-error" in answer.text


def test_invitations_of_an_admin_who_lost_the_role_end(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    path = invite(signed_in("admin"))
    signed_in("operator").post(f"/members/{user_id('admin')}/role", {"role": "viewer"})
    assert Browser(app).get(path).status_code == 404


def test_invitations_to_another_company_stay_when_access_ends(
    app: Flask, give: Callable[[str, str, str], None], company_id: Callable[[str], str]
) -> None:
    give("admin", "Other", "admin")
    for left in ("Acme", "Other"):
        with app.app_context():
            user = find_user(email_of("admin"))
            assert user is not None
            for name in ("Acme", "Other"):
                scope = scope_of(user, company_id(name))
                assert scope is not None
                make_invite(scope, NEW, "viewer")
            remove_member(company_id(left), user.id)
            [stays] = db.session.scalars(select(Invite.company_id))
            assert stays != company_id(left)
            db.session.rollback()


def test_each_company_tells_its_own_time(app: Flask, company_id: Callable[[str], str]) -> None:
    zones = {"Acme": "Europe/Berlin", "Other": "Asia/Tokyo"}
    with app.app_context():
        for name, zone in zones.items():
            db.session.get_one(Company, company_id(name)).timezone = zone
        db.session.commit()
        assert {name: zone_of(company_id(name)).key for name in zones} == zones


def test_what_was_done_is_in_the_audit_log_of_its_company(
    app: Flask, signed_in: SignedIn, user_id: Callable[[str], str]
) -> None:
    admin = signed_in("admin")
    Browser(app).post(invite(admin), joining())
    admin.post(f"/members/{user_id('viewer')}/role", {"role": "expert"})
    admin.post(f"/members/{user_id('viewer')}/remove")
    admin.post("/keys", {"label": "nightly"})
    page = admin.get("/audit").text
    for words in ("invited", "joined", "role granted", "access withdrawn", "API key created"):
        assert words in page
    assert "127.0.0.1" in page
    assert NEW not in signed_in("stranger").get("/audit").text


def test_an_operator_is_made_admin_of_the_company(app: Flask) -> None:
    with app.app_context():
        user = create_user("second@new.example.com", "  New   Company ", "operator", PASSWORD)
        assert user.is_operator
        assert [(m.role, m.company.name) for m in user.memberships] == [("admin", "New Company")]
