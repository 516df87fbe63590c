"""Two at once: what must hold when requests run side by side."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

from accounts_helpers import PASSWORD, Browser, email_of
from flask import Flask
from sqlalchemy import func, select

from webapp.accounts import Membership, User, create_user, find_user, scope_of
from webapp.accounts.invites import find_invite, make_invite
from webapp.accounts.members import members_of
from webapp.extensions import db

SignedIn = Callable[[str], Browser]


def at_once(*acts: Callable[[], None]) -> None:
    """Run the acts in threads that start together."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        barrier.wait(60)
        act()

    threads = [Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_two_admins_who_demote_each_other_leave_one(app: Flask, signed_in: SignedIn) -> None:
    with app.app_context():
        create_user("one@duo.example.com", "Duo", "admin", PASSWORD)
        create_user("two@duo.example.com", "Duo", "admin", PASSWORD)
        one, two = find_user("one@duo.example.com"), find_user("two@duo.example.com")
        assert one is not None
        assert two is not None
        company_id, ids = one.home_company_id, (one.id, two.id)
    browsers = [Browser(app), Browser(app)]
    tokens = []
    for number, browser in enumerate(browsers):
        browser.sign_in(("one", "two")[number] + "@duo.example.com")
        tokens.append(browser.form_token())
    statuses: list[int] = []

    def demote(number: int) -> None:
        form = {"role": "viewer", "csrf_token": tokens[number]}
        path = f"/members/{ids[1 - number]}/role"
        statuses.append(browsers[number].client.post(path, data=form).status_code)

    at_once(lambda: demote(0), lambda: demote(1))
    assert sorted(statuses) in ([303, 403], [303, 409])
    with app.app_context():
        assert [m.role for m in members_of(company_id)].count("admin") == 1


def test_a_link_opened_twice_at_once_makes_one_user(app: Flask) -> None:
    with app.app_context():
        admin = find_user(email_of("admin"))
        assert admin is not None
        scope = scope_of(admin, admin.home_company_id)
        assert scope is not None
        _invite, token = make_invite(scope, "newcomer@acme.example.com", "viewer")
        db.session.commit()
        assert find_invite(token)
    browsers = [Browser(app), Browser(app)]
    forms = [
        {"password": f"{PASSWORD} {n}", "password_again": f"{PASSWORD} {n}"}
        | {"csrf_token": browser.form_token()}
        for n, browser in enumerate(browsers)
    ]
    statuses: list[int] = []

    def accept(number: int) -> None:
        client = browsers[number].client
        statuses.append(client.post(f"/invite/{token}", data=forms[number]).status_code)

    at_once(lambda: accept(0), lambda: accept(1))
    # 422: the second found the link still open, and then the account that the first had made.
    assert sorted(statuses) in ([200, 303], [303, 404], [303, 422])
    with app.app_context():
        users = select(func.count()).select_from(User).join(Membership)
        assert db.session.scalar(users.where(User.email == "newcomer@acme.example.com")) == 1
