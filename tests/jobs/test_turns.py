"""Fair shares: companies take turns, small reports first, so many under way, so many waiting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from rq import Worker
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus
from sqlalchemy import QueuePool

from tests.conftest import Api, add_people, find_scope
from tests.engine.engine_helpers import Steps, change, make, row, rows_result, run
from webapp.accounts import create_key, find_user
from webapp.engine import service
from webapp.errors import TooManyWaiting
from webapp.extensions import db, report_queue
from webapp.jobs import executor, janitor, transport
from webapp.lib.moments import utcnow

NOWHERE = "redis://127.0.0.1:1/0"


class Sized(Steps):
    """A kind whose reports are as large as their parameter says."""

    def size(self, params: Any) -> int:
        return int(params.many)


@pytest.fixture
def fair(make_app: Callable[..., Flask]) -> Flask:
    return prepared(make_app)


def prepared(make_app: Callable[..., Flask], **settings: Any) -> Flask:
    app = make_app(report_kinds=(Sized(),), **settings)
    add_people(app)
    return app


def ask(app: Flask, who: str, many: int = 1) -> str:
    with app.app_context():
        return service.start_report(find_scope(app, who), "steps", {"many": many}).report.id


def in_rq(app: Flask) -> list[str]:
    with app.app_context():
        return report_queue().job_ids


def take(app: Flask) -> str:
    """Take the first job from RQ as a worker does and return its id; the worker is busy with it."""
    with app.app_context():
        job_id = report_queue().pop_job_id()
        assert job_id is not None
        assert executor.take(job_id) is not None
        return job_id


def end(app: Flask, *job_ids: str) -> None:
    """End running jobs; their worker asks who is next."""
    for job_id in job_ids:
        change(app, job_id, status="done", finished_at=utcnow())
    with app.app_context():
        transport.hand_over()


def order(app: Flask, count: int) -> list[str]:
    """Let one worker do so many jobs one after the other; return their ids in that order."""
    done = []
    for _ in range(count):
        done.append(take(app))
        end(app, done[-1])
    return done


def test_a_small_company_does_not_wait_behind_a_large_one(fair: Flask) -> None:
    large = [ask(fair, "owner", 100) for _ in range(5)]
    running = take(fair)
    small = ask(fair, "stranger")
    end(fair, running)
    # The one that RQ had already been handed, then it.
    assert [running, *order(fair, 2)] == [large[0], large[1], small]
    assert order(fair, 3) == large[2:]


def test_a_single_report_waits_for_at_most_one_of_every_other_company(fair: Flask) -> None:
    others = {who: [ask(fair, who) for _ in range(6)] for who in ("owner", "stranger")}
    assert set(order(fair, 4)) == {*others["owner"][:2], *others["stranger"][:2]}
    single = ask(fair, "operator")
    before = order(fair, 3)
    # One of them was in RQ's hands when it was asked for.
    assert single in before
    for made in others.values():
        assert len(set(before) & set(made)) <= 2
    assert len(set(order(fair, 6))) == 6


def test_of_a_companys_own_the_small_ones_come_first(fair: Flask) -> None:
    first, large, small, middle = (ask(fair, "owner", many) for many in (1, 300, 2, 30))
    assert order(fair, 4) == [first, small, middle, large]


def test_what_has_waited_for_an_hour_comes_before_what_is_small(fair: Flask) -> None:
    first, large, small = ask(fair, "owner"), ask(fair, "owner", 300), ask(fair, "owner", 2)
    change(fair, large, queued_at=utcnow() - timedelta(hours=1, seconds=1))
    assert order(fair, 3) == [first, large, small]


def test_a_company_has_so_many_under_way_and_no_more(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, COMPANY_RUNNING_MOST=2)
    made = [ask(app, "owner") for _ in range(4)]
    assert [take(app), take(app)] == made[:2]
    assert in_rq(app) == []
    other = ask(app, "stranger")
    assert take(app) == other
    with app.app_context():
        assert transport.hand_over() == []
    end(app, made[0])
    assert in_rq(app) == [made[2]]


def test_cancelling_makes_room_at_once(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, COMPANY_RUNNING_MOST=1)
    first, second = ask(app, "owner"), ask(app, "owner")
    with app.app_context():
        service.cancel_report(find_scope(app, "owner"), first)
    assert in_rq(app) == [second]


def test_a_report_that_was_made_makes_room_at_once(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, COMPANY_RUNNING_MOST=1)
    first, second = ask(app, "owner"), ask(app, "owner")
    with app.app_context():
        report_queue().empty()
    assert run(app, first).status == "done"
    assert in_rq(app) == [second]


@pytest.fixture
def idle(fair: Flask) -> Iterator[Callable[[int], None]]:
    """Return a maker of workers that wait for work."""
    made: list[Worker] = []

    def start(count: int) -> None:
        with fair.app_context():
            for number in range(count):
                queue = report_queue()
                worker = Worker(
                    [queue],
                    name=f"idle-{number}-{queue.name}",
                    connection=queue.connection,
                    serializer=JSONSerializer,
                )
                worker.register_birth()
                worker.set_state(WorkerStatus.IDLE)
                made.append(worker)

    yield start
    for worker in made:
        worker.register_death()


def test_every_idle_worker_is_handed_one(fair: Flask, idle: Callable[[int], None]) -> None:
    idle(3)
    made = [ask(fair, "owner") for _ in range(5)]
    assert in_rq(fair) == made[:3]


def test_many_who_decide_at_once_hand_over_each_job_once(
    fair: Flask, idle: Callable[[int], None]
) -> None:
    made = [ask(fair, "owner") for _ in range(9)]
    idle(4)
    handed: list[str] = []

    def decide() -> None:
        with fair.app_context():
            handed.extend(transport.hand_over())

    threads = [threading.Thread(target=decide) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(handed) == sorted(made[1:4])
    assert sorted(in_rq(fair)) == sorted(made[:4])


def test_redis_is_asked_with_no_connection_to_the_database_held(
    fair: Flask, make_app: Callable[..., Flask]
) -> None:
    ask(fair, "owner")
    ask(fair, "owner")
    held: list[int] = []

    def turn_away(listener: socket.socket, app: Flask) -> None:
        with app.app_context(), suppress(OSError):
            assert isinstance(db.engine.pool, QueuePool)
            while True:
                listener.accept()[0].close()
                held.append(db.engine.pool.checkedout())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        app = make_app(report_kinds=(Sized(),), REDIS_URL=url)
        thread = threading.Thread(target=turn_away, args=(listener, app))
        thread.start()
        with app.app_context():
            assert transport.hand_over() == []
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(60)
    assert set(held) == {0}


def test_the_janitor_hands_over_what_nobody_did(fair: Flask) -> None:
    first, second = ask(fair, "owner"), ask(fair, "owner")
    with fair.app_context():
        report_queue().empty()
    change(fair, first, status="done", finished_at=utcnow())
    with fair.app_context():
        assert janitor.sweep() == 0
    assert in_rq(fair) == [second]


def test_without_redis_all_wait_in_their_rows(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, REDIS_URL=NOWHERE)
    made = [ask(app, "owner") for _ in range(2)]
    assert [row(app, one).status for one in made] == ["queued", "queued"]


# So many waiting


def test_past_so_many_waiting_a_company_is_told_why(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, COMPANY_WAITING_MOST=2)
    with app.app_context():
        user = find_user("owner@example.com")
        assert user is not None
        key, secret = create_key(user, "tests")
        api = Api(app.test_client(), (key.key_id, secret))
    body = {"kind": "steps", "params": {}}
    first = api.post("/reports", body, headers={"Idempotency-Key": "one"})
    assert [first.status_code, api.post("/reports", body).status_code] == [202, 202]
    refused = api.post("/reports", body)
    assert (refused.status_code, refused.json["title"]) == (429, "Too many reports wait")
    assert "2 reports of this company are waiting" in refused.json["detail"]
    assert int(refused.headers["Retry-After"]) > 0
    # What was asked for before is answered as before; another company is not kept out.
    again = api.post("/reports", body, headers={"Idempotency-Key": "one"})
    assert (again.status_code, again.json["id"]) == (202, first.json["id"])
    ask(app, "stranger")
    take(app)
    assert api.post("/reports", body).status_code == 202


def test_a_retry_waits_like_all_others(make_app: Callable[..., Flask]) -> None:
    app = prepared(make_app, COMPANY_WAITING_MOST=1)
    holes = make(app, lambda attempt: rows_result([], complete=False)).id
    ask(app, "owner")
    with app.app_context(), pytest.raises(TooManyWaiting):
        service.retry_report(find_scope(app, "owner"), holes, {})
    assert row(app, holes).status == "incomplete"


@pytest.mark.parametrize(("count", "status"), [(100, "done"), (101, "failed")])
def test_a_result_has_so_many_rows_and_no_more(
    make_app: Callable[..., Flask], count: int, status: str
) -> None:
    app = prepared(make_app, RESULT_ROWS_MOST=100)
    report = make(app, lambda attempt: rows_result([{"count": 1}] * count))
    assert report.status == status
    assert ("more than 100 rows" in (report.error or "")) == (status == "failed")
