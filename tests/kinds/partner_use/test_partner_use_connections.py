"""Stored credentials: sealed, of one company, used instead of typed ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from sandbox.testing import RunningStandIn
from tests.conftest import DEMO_KEY, DEMO_SECRET, form_token
from tests.kinds.partner_use.partner_use_helpers import Maker
from webapp.engine import service
from webapp.errors import InvalidParams
from webapp.extensions import db
from webapp.kinds.partner_use import connections
from webapp.kinds.partner_use.connections import Connection

ClientFor = Callable[[str], FlaskClient]
FORM = {
    "name": "Demo", "partner_id": "70000001", "user_key": DEMO_KEY, "user_secret": DEMO_SECRET,
}  # fmt: skip


@pytest.fixture
def connection(app: Flask, maker: Maker) -> str:
    """Return the id of a stored connection of the owner's company."""
    with app.app_context():
        return connections.add(maker.scope("owner"), FORM).id


def post(client: FlaskClient, path: str, **form: str) -> Any:
    return client.post(path, data={"csrf_token": form_token(client), **form})


def test_a_report_runs_with_a_stored_connection(maker: Maker, connection: str) -> None:
    made = maker.make({"partner_id": "70000001", "connection": connection})
    assert made.status == "done"


def test_a_colleague_may_use_the_companys_connection(maker: Maker, connection: str) -> None:
    made = maker.make({"partner_id": "70000001", "connection": connection}, who="colleague")
    assert made.status == "done"


def test_the_params_of_the_report_name_the_connection_and_no_key(
    app: Flask, maker: Maker, connection: str
) -> None:
    with app.app_context():
        report = service.start_report(
            maker.scope("owner"),
            "partner-use",
            {"partner_id": "70000001", "connection": connection},
            enqueue=False,
        ).report
        assert report.params["connection"] == connection
        assert DEMO_SECRET not in str(report.params)
        assert DEMO_KEY not in str(report.params)


@pytest.mark.parametrize("given", ["stranger's", "unknown", "no id"])
def test_another_companys_connection_is_as_unknown_as_none(
    app: Flask, maker: Maker, connection: str, given: str
) -> None:
    value = {"stranger's": connection, "unknown": str(uuid4()), "no id": "demo"}[given]
    who = "stranger" if given == "stranger's" else "owner"
    with app.app_context(), pytest.raises(InvalidParams) as caught:
        service.start_report(
            maker.scope(who), "partner-use", {"partner_id": "70000001", "connection": value}
        )
    assert list(caught.value.errors) == ["connection"]


def test_a_connection_with_a_wrong_secret_fails_the_report(app: Flask, maker: Maker) -> None:
    with app.app_context():
        stored = connections.add(maker.scope("owner"), FORM | {"user_secret": "d3Jvbmc="}).id
    assert maker.make({"partner_id": "70000001", "connection": stored}).status == "failed"


def test_a_report_with_a_connection_is_retried_without_any_secret(
    maker: Maker, connection: str, stand_in: RunningStandIn
) -> None:
    stand_in.faults([{"fault": "error:403007", "method": "accounts.search", "times": 1}])
    made = maker.make({"partner_id": "70000001", "connection": connection})
    assert made.status == "incomplete"
    assert maker.retry(made, {}).status == "done"


@pytest.fixture
def dead(app: Flask, maker: Maker, connection: str) -> str:
    """Return the id of a failed report whose connection is deleted."""
    with app.app_context():
        wrong = connections.add(
            maker.scope("owner"), FORM | {"name": "Wrong", "user_secret": "d3I="}
        )
        report_id = maker.make({"partner_id": "70000001", "connection": wrong.id}).id
        db.session.delete(db.session.get_one(Connection, wrong.id))
        db.session.commit()
        return report_id


def test_a_retry_may_come_by_a_key_in_place_of_a_connection_that_is_gone(
    api_for: Callable[[str], Any], maker: Maker, dead: str
) -> None:
    api, path = api_for("owner"), f"/reports/{dead}/retry"
    answer = api.post(path)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["connection"])
    answer = api.post(path, {"user_secret": DEMO_SECRET})
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["connection"])
    answer = api.post(path, {"params": {"user_key": DEMO_KEY, "user_secret": DEMO_SECRET}})
    assert answer.status_code == 202
    assert answer.json["params"]["user_key"] == DEMO_KEY
    assert "connection" not in answer.json["params"]
    with maker.app.app_context():
        assert maker._run(dead).status == "done"


def test_a_retry_may_come_by_another_connection(
    api_for: Callable[[str], Any], maker: Maker, dead: str, connection: str
) -> None:
    answer = api_for("owner").post(f"/reports/{dead}/retry", {"connection": connection})
    assert (answer.status_code, answer.json["params"]["connection"]) == (202, connection)
    with maker.app.app_context():
        assert maker._run(dead).status == "done"


def test_the_page_offers_all_ways_in_where_the_connection_is_gone(
    client_for: ClientFor, dead: str, connection: str
) -> None:
    client = client_for("owner")
    refused = post(client, f"/reports/{dead}/retry")
    assert refused.status_code == 422
    for name in ("connection", "user_key", "user_secret"):
        assert f'name="{name}"' in refused.text
    answer = post(client, f"/reports/{dead}/retry", user_key=DEMO_KEY, user_secret="")
    assert answer.status_code == 422
    assert f'value="{DEMO_KEY}"' in answer.text
    assert post(client, f"/reports/{dead}/retry", connection=connection).status_code == 303


def test_the_secret_is_sealed_at_rest(app: Flask, connection: str) -> None:
    with app.app_context():
        stored = db.session.get_one(Connection, connection)
        assert DEMO_SECRET not in stored.sealed_secret


def test_no_page_shows_the_secret_again(client_for: ClientFor, connection: str) -> None:
    page = client_for("owner").get("/connections").text
    assert "Demo" in page
    assert DEMO_SECRET not in page


def test_an_admin_stores_tests_and_deletes_a_connection(app: Flask, client_for: ClientFor) -> None:
    client = client_for("owner")
    assert post(client, "/connections", **FORM).status_code == 303
    with app.app_context():
        stored = db.session.query(Connection).one().id
    post(client, f"/connections/{stored}/test")
    assert "the key sees 6 sites of partner 70000001" in client.get("/connections").text
    assert post(client, f"/connections/{stored}/delete").status_code == 303
    with app.app_context():
        assert db.session.query(Connection).count() == 0


def test_a_test_with_a_wrong_secret_says_so_without_it(client_for: ClientFor, app: Flask) -> None:
    client = client_for("owner")
    post(client, "/connections", **FORM | {"user_secret": "d3Jvbmcgb25l"})
    with app.app_context():
        stored = db.session.query(Connection).one().id
    post(client, f"/connections/{stored}/test")
    page = client.get("/connections").text
    assert "secret" in page
    assert "d3Jvbmcgb25l" not in page


def test_a_bad_form_comes_back_as_typed_but_for_the_secret(client_for: ClientFor) -> None:
    answer = post(
        client_for("owner"), "/connections", **FORM | {"partner_id": "abc", "name": "My own"}
    )
    assert answer.status_code == 422
    assert "My own" in answer.text
    assert DEMO_SECRET not in answer.text


def test_a_name_is_used_once_in_a_company(app: Flask, maker: Maker, connection: str) -> None:
    with app.app_context():
        with pytest.raises(InvalidParams) as caught:
            connections.add(maker.scope("owner"), FORM | {"name": " dEMO "})
        assert list(caught.value.errors) == ["name"]
        assert connections.add(maker.scope("stranger"), FORM).name == "Demo"


@pytest.mark.parametrize("who", ["colleague", "viewer"])
def test_only_an_admin_stores_and_deletes(client_for: ClientFor, connection: str, who: str) -> None:
    client = client_for(who)
    assert post(client, "/connections", **FORM | {"name": "Two"}).status_code == 403
    assert post(client, f"/connections/{connection}/delete").status_code == 403


def test_a_stranger_sees_and_reaches_no_connection(client_for: ClientFor, connection: str) -> None:
    client = client_for("stranger")
    assert connection not in client.get("/connections").text
    assert post(client, f"/connections/{connection}/test").status_code == 404
    assert post(client, f"/connections/{connection}/delete").status_code == 404


@pytest.fixture
def unreadable(app: Flask, connection: str) -> str:
    """Return the id of a connection that was sealed under a key that is gone."""
    app.config["SECRET_KEY"] = "the key that comes after, 0123456789"
    return connection


@pytest.mark.parametrize("path", ["/reports", "/reports/estimate"])
def test_an_unreadable_connection_is_said_at_its_field(
    api_for: Callable[[str], Any], unreadable: str, path: str
) -> None:
    params = {"partner_id": "70000001", "connection": unreadable}
    answer = api_for("owner").post(path, {"kind": "partner-use", "params": params})
    assert answer.status_code == 422
    assert "Enter them again" in answer.json["errors"]["connection"]


def test_testing_an_unreadable_connection_says_so(client_for: ClientFor, unreadable: str) -> None:
    client = client_for("owner")
    assert post(client, f"/connections/{unreadable}/test").status_code == 303
    assert "Enter them again" in client.get("/connections").text


def test_the_form_asks_for_the_connection_first_and_reaches_back_as_far_as_is_stored(
    client_for: ClientFor, maker: Maker, connection: str
) -> None:
    asked = {"partner_id": "70000001", "connection": connection, "mode": "monthly"}
    maker.make({**asked, "start": "2025-01", "end": "2025-03"})
    page = client_for("owner").get("/reports/new/partner-use").text
    places = [page.index(f'name="{name}"') for name in ("connection", "partner_id", "user_key")]
    assert places == sorted(places)
    assert re.search(
        r'value="2024-12:\d{4}-\d\d"[^>]*>Since the beginning, as far as stored<', page
    )
    # The partner can be asked for earlier months: nothing bars the way to them.
    assert "Counts are stored from 2024-12 on" in page
    assert " min=" not in page
