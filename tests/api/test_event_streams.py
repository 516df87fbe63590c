"""Event streams over a real server: late, coming back, by POST, closed, refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, update

from tests.api.api_helpers import Stream, create, ended, open_stream, run, serving
from tests.conftest import DEMO_SECRET, Api
from tests.soon import until
from webapp import jobs
from webapp.accounts import ApiKey, Membership, find_user, identity
from webapp.extensions import db, redis_client
from webapp.jobs.stream import POLL_S
from webapp.lib.moments import utcnow

ApiFor = Callable[[str], Api]
Params = Callable[..., dict[str, Any]]


@pytest.fixture
def port(app: Flask) -> Iterator[int]:
    with serving(app) as port:
        yield port


@pytest.fixture
def api(api_for: ApiFor) -> Api:
    return api_for("owner")


def read(port: int, api: Api, path: str, **headers: str) -> Stream:
    stream = open_stream(port, api, path, **headers)
    stream.read()
    stream.close()
    return stream


def test_a_finished_report_is_told_from_its_first_line_to_its_end(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    report_id = ended(app, api, partner_use())
    stream = read(port, api, f"/reports/{report_id}/events")
    assert stream.response.status == 200
    assert stream.response.headers["Content-Type"].startswith("text/event-stream")
    assert stream.response.headers["X-Accel-Buffering"] == "no"
    assert stream.comments >= 1
    assert stream.numbers == list(range(1, len(stream.numbers) + 1))
    assert stream.events[-1][0] == "end"
    assert stream.events[-1][2] == {"status": "done"}
    for name, number, data in stream.events[:-1]:
        assert (name, number) == ("status", str(data["seq"]))
        assert list(data) == ["seq", "at", "level", "text", "done", "total"]


def test_a_reader_that_comes_back_gets_the_rest_only(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/events"
    whole = read(port, api, path)
    rest = read(port, api, path, Last_Event_ID="3")
    assert rest.numbers == whole.numbers[3:]
    assert [event[0] for event in rest.events].count("end") == 1


@pytest.mark.parametrize("odd", ["", "x", "-1", "1.5", "9" * 30, "0"])
def test_an_odd_last_event_id_gives_everything(
    app: Flask, api: Api, port: int, partner_use: Params, odd: str
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/events"
    assert read(port, api, path, Last_Event_ID=odd).numbers[0] == 1


def test_a_number_beyond_the_last_gets_the_end_alone(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/events"
    assert [e[0] for e in read(port, api, path, Last_Event_ID="999999").events] == ["end"]


def test_who_has_the_last_line_but_not_the_end_gets_the_end(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/events"
    last = read(port, api, path).numbers[-1]
    assert [e[0] for e in read(port, api, path, Last_Event_ID=str(last)).events] == ["end"]


def test_who_has_heard_the_end_is_sent_away_until_the_report_runs_again(
    app: Flask, api: Api, port: int, partner_use: Params, stand_in: Any
) -> None:
    stand_in.faults([{"fault": "error:403007", "method": "accounts.search", "times": 1}])
    report_id = ended(app, api, partner_use())
    path = f"/reports/{report_id}/events"
    whole = read(port, api, path)
    name, heard, _ = whole.events[-1]
    assert (name, int(heard)) == ("end", whole.numbers[-1])
    assert read(port, api, path, Last_Event_ID=heard).response.status == 204
    assert read(port, api, f"{path}?after={heard}").response.status == 204
    assert api.post(f"/reports/{report_id}/retry", {"user_secret": DEMO_SECRET}).status_code == 202
    run(app, report_id)
    whole = read(port, api, path)
    assert read(port, api, path, Last_Event_ID="0").numbers == whole.numbers
    stream = open_stream(port, api, path, Last_Event_ID=str(int(heard)))
    assert stream.read().numbers[0] == int(heard) + 1
    stream.close()


def test_the_last_line_heard_may_stand_in_the_address(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    path = f"/reports/{ended(app, api, partner_use())}/events"
    assert read(port, api, f"{path}?after=3").numbers[0] == 4
    assert read(port, api, f"{path}?after=3", Last_Event_ID="5").numbers[0] == 6
    assert read(port, api, f"{path}?after=x").numbers[0] == 1


def test_the_first_comment_comes_before_any_line(api: Api, port: int, partner_use: Params) -> None:
    report_id = create(api, partner_use()).json["id"]
    stream = open_stream(port, api, f"/reports/{report_id}/events")
    assert stream.response.readline().startswith(b":")
    stream.close()


def test_lines_arrive_while_the_report_is_made(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    report_id = create(api, partner_use()).json["id"]
    stream = open_stream(port, api, f"/reports/{report_id}/events")
    maker = threading.Thread(target=run, args=(app, report_id))
    maker.start()
    stream.read()
    stream.close()
    maker.join(60)
    assert stream.events[-1][2] == {"status": "done"}
    assert stream.numbers == list(range(1, len(stream.numbers) + 1))


def test_a_post_that_accepts_events_follows_its_own_report_to_the_end(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    body = {"kind": "partner-use", "params": partner_use()}
    stream = open_stream(port, api, "/reports", body)
    assert stream.response.status == 200
    location = stream.response.headers["Location"]
    maker = threading.Thread(target=run, args=(app, location.rsplit("/", 1)[1]))
    maker.start()
    stream.read()
    stream.close()
    maker.join(60)
    assert stream.events[-1] == (
        "end",
        f"0{stream.numbers[-1]}",
        {"status": "done"},
    )
    assert api.get(location.removeprefix("/api/v1")).json["status"] == "done"


def test_a_post_with_a_key_that_was_used_follows_that_report(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    first = create(api, partner_use(), Idempotency_Key="one").json["id"]
    run(app, first)
    body = {"kind": "partner-use", "params": partner_use()}
    stream = open_stream(port, api, "/reports", body, Idempotency_Key="one")
    stream.read()
    stream.close()
    assert stream.response.headers["Location"].endswith(first)
    assert stream.events[-1][2] == {"status": "done"}


def test_a_post_for_which_no_stream_is_left_says_where_its_report_is(
    app: Flask, api: Api, partner_use: Params
) -> None:
    app.config["WEB_THREADS"] = 9
    with app.app_context():
        listening = jobs.Listening("another report")
    body = {"kind": "partner-use", "params": partner_use()}
    answer = api.post("/reports", body, headers={"Accept": "text/event-stream"})
    listening.close()
    assert answer.status_code == 202
    assert answer.headers["Location"] == answer.json["links"]["self"]
    assert api.get(f"/reports/{answer.json['id']}").json["status"] == "queued"


def test_bad_values_are_told_as_a_problem_not_as_a_stream(
    api: Api, port: int, partner_use: Params
) -> None:
    body = {"kind": "partner-use", "params": partner_use(partner_id="x")}
    stream = open_stream(port, api, "/reports", body)
    problem = json.loads(stream.response.read())
    stream.close()
    assert stream.response.status == 422
    assert stream.response.headers["Content-Type"] == "application/problem+json"
    assert list(problem["errors"]) == ["partner_id"]


def test_a_stranger_may_not_listen(api_for: ApiFor, port: int, partner_use: Params) -> None:
    report_id = create(api_for("owner"), partner_use()).json["id"]
    stream = open_stream(port, api_for("stranger"), f"/reports/{report_id}/events")
    assert stream.response.status == 404
    stream.close()


def test_cancelling_ends_the_stream(api: Api, port: int, partner_use: Params) -> None:
    report_id = create(api, partner_use()).json["id"]
    stream = open_stream(port, api, f"/reports/{report_id}/events")
    assert api.delete(f"/reports/{report_id}").status_code == 202
    stream.read()
    stream.close()
    assert [event[0] for event in stream.events] == ["status", "end"]
    assert stream.events[-1][2] == {"status": "cancelled"}


def test_closed_readers_leave_no_subscription_behind(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    report_id = create(api, partner_use()).json["id"]
    streams = [open_stream(port, api, f"/reports/{report_id}/events") for _ in range(10)]
    for stream in streams:
        stream.response.readline()
    redis = redis_client(app)

    def subscribed() -> Any:
        return redis.pubsub_channels(f"*{report_id}*")

    assert until(lambda: bool(subscribed()))
    for stream in streams:
        stream.close()
    assert until(lambda: not subscribed())
    assert len(app.extensions["line_hub"]) == 0


def test_a_quiet_stream_holds_no_database_connection(
    app: Flask, api: Api, port: int, partner_use: Params
) -> None:
    from webapp.extensions import db

    report_id = create(api, partner_use()).json["id"]
    streams = [open_stream(port, api, f"/reports/{report_id}/events") for _ in range(20)]
    for stream in streams:
        stream.response.readline()
    with app.app_context():
        pool: Any = db.engine.pool
        assert until(lambda: pool.checkedout() == 0)
    assert api.get(f"/reports/{report_id}").status_code == 200
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("what", ["key", "access", "account", "token"])
def test_what_is_withdrawn_ends_an_open_stream(
    app: Flask, api: Api, port: int, partner_use: Params, what: str
) -> None:
    assert identity.ASK_EVERY_S + POLL_S < 5
    path = f"/reports/{create(api, partner_use()).json['id']}/events"
    headers = {}
    if what == "token":
        body = {"apiKey": api.auth[0], "secret": api.auth[1]}
        token = api.client.post("/api/keys/v1/api/auth", json=body).json["accessToken"]
        headers["Authorization"] = f"Bearer {token}"
    opened = open_stream(port, api, path, **headers)
    assert opened.response.readline().startswith(b":")
    with app.app_context():
        user = find_user("owner@example.com")
        assert user is not None
        if what == "key":
            db.session.execute(update(ApiKey).values(revoked_at=utcnow()))
        elif what == "access":
            db.session.execute(delete(Membership).where(Membership.user_id == user.id))
        elif what == "account":
            user.status = "NO_ACCESS"
        else:
            user.session_epoch += 1
        db.session.commit()
    opened.read()
    assert "end" not in [name for name, _, _ in opened.events]
    opened.close()
    again = open_stream(port, api, path, **headers)
    assert again.response.status == 401
    again.close()
