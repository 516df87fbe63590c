"""Users made by command, scopes and roles, and guards other rooms put before their views."""

from __future__ import annotations

import runpy
from collections.abc import Callable

import pytest
from accounts_helpers import PASSWORD, Program, bearer, email_of
from flask import Blueprint, Flask, jsonify
from sqlalchemy import func, select

from webapp.accounts import (
    Company,
    Scope,
    audit,
    create_user,
    current_scope,
    find_company,
    find_user,
    passwords,
    require,
    restrict,
    scope_of,
)
from webapp.accounts.audit_log import read_entries
from webapp.accounts.passwords import needs_rehash
from webapp.errors import InvalidParams
from webapp.extensions import db


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"email": "no email"}, "email", "Write an email address"),
        ({"email": "Viewer@ACME.example.com"}, "email", "already exists"),
        ({"email": "a@b.example.com\x00"}, "email", "Write an email address"),
        ({"company_name": "  "}, "company", "1 to 200 characters"),
        ({"company_name": "x" * 201}, "company", "1 to 200 characters"),
        ({"role": "owner"}, "role", "operator, admin, expert, viewer"),
        ({"password": "too short"}, "password", "at least 10 characters"),
    ],
)
def test_a_user_that_cannot_be_made_is_refused_by_field(
    app: Flask, change: dict[str, str], field: str, words: str
) -> None:
    good = {
        "email": "new@acme.example.com",
        "company_name": "Acme",
        "role": "viewer",
        "password": PASSWORD,
    }
    with app.app_context(), pytest.raises(InvalidParams) as caught:
        create_user(**good | change)
    assert list(caught.value.errors) == [field]
    assert words in caught.value.errors[field]
    assert PASSWORD not in str(caught.value)


def test_a_company_is_one_whatever_the_case_of_its_name(app: Flask) -> None:
    with app.app_context():
        create_user("a@straße.example.com", "STRASSE  AG", "admin", PASSWORD)
        create_user("b@straße.example.com", "straße ag", "viewer", PASSWORD)
        assert db.session.scalar(select(func.count()).select_from(Company)) == 3
        assert find_company("Straße AG") is not None


def test_the_password_is_kept_as_argon2(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        assert user.password_hash.startswith("$argon2id$")
        assert not needs_rehash(user.password_hash)


def test_a_guess_costs_what_owasp_asks() -> None:
    # As the program has it, not as tests do: each of thousands of sign-ins would cost as much.
    hasher = runpy.run_path(passwords.__file__)["_hasher"]
    assert (hasher.memory_cost, hasher.time_cost) == (19 * 1024, 2)


def scope(role: str, *, operator: bool = False) -> Scope:
    return Scope("u", "c", "Acme", "a@b.example.com", role, operator)


def test_roles_include_the_ones_below() -> None:
    ladder = ("viewer", "expert", "admin")
    for rank, role in enumerate(ladder):
        assert [scope(role).may(other) for other in ladder] == [n <= rank for n in range(3)]
        assert not scope(role).may("operator")
    assert scope("viewer", operator=True).may("operator")
    assert not scope("viewer", operator=True).may("expert")


def test_a_scope_cannot_be_raised_in_place() -> None:
    with pytest.raises(AttributeError):
        scope("viewer").role = "admin"  # type: ignore[misc]


def test_an_unknown_role_in_the_code_is_a_fault_not_a_permission() -> None:
    with pytest.raises(KeyError):
        scope("admin").may("owner")


@pytest.fixture
def rooms(make_app: Callable[..., Flask], app: Flask) -> Flask:
    """An application with a closed blueprint, one for experts, and one for operators."""
    application = make_app()
    for role in (None, "expert", "operator"):
        name = role or "anyone"
        bp = restrict(Blueprint(name, __name__, url_prefix=f"/api/test/{name}"), role)
        bp.add_url_rule("", "show", lambda: jsonify(current_scope().email))
        application.register_blueprint(bp)

    @application.post("/api/test/write")
    @require("expert")
    def write() -> str:
        return "written"

    return application


@pytest.mark.parametrize(
    ("who", "statuses"),
    [
        ("viewer", (200, 403, 403, 403)),
        ("expert", (200, 200, 403, 200)),
        ("admin", (200, 200, 403, 200)),
        ("operator", (200, 200, 200, 200)),
    ],
)
def test_guards_let_pass_who_reaches_the_role(
    rooms: Flask, program: Callable[..., Program], who: str, statuses: tuple[int, ...]
) -> None:
    caller, client = program(who), rooms.test_client()
    token = caller.log_in()["accessToken"]
    for how in (caller.basic, {"headers": bearer(token)}):
        answers = [
            client.get("/api/test/anyone", **how),
            client.get("/api/test/expert", **how),
            client.get("/api/test/operator", **how),
            client.post("/api/test/write", **how),
        ]
        assert tuple(answer.status_code for answer in answers) == statuses


def test_who_is_refused_is_told_which_role_it_takes(
    rooms: Flask, program: Callable[..., Program]
) -> None:
    client = rooms.test_client()
    answers = [
        client.get(f"/api/test/{room}", **program("viewer").basic).get_json()["detail"]
        for room in ("expert", "operator")
    ]
    assert answers == [
        "This needs the role expert in Acme; yours is viewer.",
        "Only operators of this installation may do this.",
    ]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ???",
        "Basic Og==",
        "Bearer",
        "Bearer a.b.c",
        "Digest x",
        "Basic \xff",
        "Bearer \xff",
    ],
)
def test_guards_stop_strangers(rooms: Flask, header: str) -> None:
    client = rooms.test_client()
    for method, path in (("GET", "/api/test/anyone"), ("POST", "/api/test/write")):
        answer = client.open(path, method=method, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.content_type == "application/problem+json"
        assert "WWW-Authenticate" in answer.headers


def test_another_room_writes_into_the_audit_log(app: Flask) -> None:
    with app.app_context():
        user = find_user(email_of("viewer"))
        assert user is not None
        mine = scope_of(user, user.home_company_id)
        assert mine is not None
        audit(mine, "downloaded", "x" * 500)
        db.session.commit()
        audit(mine, "changed its mind")
        db.session.rollback()
        newest = read_entries(mine.company_id)[0][0]
        assert (newest.action, newest.subject, newest.address) == ("downloaded", "x" * 300, "")
