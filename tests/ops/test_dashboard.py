"""The RQ dashboard: who may see it, and the holes that are closed around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from rq import SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.servers import serving
from webapp.extensions import quick_redis, report_queue

HOSTILE = "<img src=x onerror='window.wasHit = true'>"


def fail(text: str) -> None:
    """The job of these tests."""
    raise RuntimeError(text)


@pytest.fixture
def operator(client_for: Callable[[str], FlaskClient]) -> FlaskClient:
    return client_for("operator")


@pytest.fixture
def failed_job(app: Flask) -> Iterator[Job]:
    """Return a job that failed with a hostile text in its arguments, description and exception."""
    with app.app_context():
        queue = report_queue()
        job = queue.enqueue(fail, HOSTILE, description=HOSTILE, meta={"note": HOSTILE})
        worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
        worker.work(burst=True, logging_level="CRITICAL")
        assert job.is_failed
    yield job
    job.delete()


def test_a_visitor_is_sent_to_sign_in(app: Flask) -> None:
    answer = app.test_client().get("/ops/rq/")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/ops/rq/"


@pytest.mark.parametrize("name", ["owner", "colleague", "viewer", "stranger"])
def test_for_anybody_but_operators_there_is_nothing(
    client_for: Callable[[str], FlaskClient], name: str
) -> None:
    client = client_for(name)
    for path in ("/ops/rq/", "/ops/rq/0/data/queues.json", "/ops/rq/static/css/main.css"):
        assert client.get(path).status_code == 404


def test_every_page_of_the_dashboard_works_with_our_jobs(
    app: Flask, operator: FlaskClient, failed_job: Job, register_worker: Callable[..., Worker]
) -> None:
    queue = app.config["QUEUE"]
    register_worker().prepare_execution(failed_job)
    for path in (
        "",
        "0/view/queues",
        "0/view/workers",
        "0/view/jobs",
        f"0/view/jobs/{queue}/failed/8/asc/1",
        f"0/view/job/{failed_job.id}",
        "0/data/queues.json",
        "0/data/workers.json",
        f"0/data/jobs/{queue}/failed/8/dsc/1.json",
        f"0/data/job/{failed_job.id}.json",
    ):
        assert operator.get(f"/ops/rq/{path}", follow_redirects=True).status_code == 200, path


@pytest.mark.parametrize(
    "path",
    [
        "0/view/job/nothing",
        "0/data/job/nothing.json",
        "1/view/queues",
        "0/view/jobs/'-alert(1)-'/failed/8/asc/1",
        "0/view/jobs/default/none/8/asc/1",
        "0/view/jobs/default/failed/8/sideways/1",
        "0/data/jobs/default/failed/x/asc/1.json",
        "0/data/jobs/default/failed/8/asc/0.json",
        "0/data/jobs/default/failed/8/asc/999999999999999999999999.json",
    ],
)
def test_what_does_not_exist_is_a_404_and_no_fault(operator: FlaskClient, path: str) -> None:
    assert operator.get(f"/ops/rq/{path}").status_code == 404


def test_a_get_requeues_nothing(app: Flask, operator: FlaskClient, failed_job: Job) -> None:
    assert operator.get(f"/ops/rq/requeue/{app.config['QUEUE']}").status_code == 405
    assert failed_job.get_status(refresh=True) == "failed"


def test_a_change_needs_the_token_that_the_page_hands_over(
    operator: FlaskClient, failed_job: Job
) -> None:
    path = f"/ops/rq/job/{failed_job.id}/requeue"
    assert operator.post(path).status_code == 400
    operator.get("/ops/rq/")
    cookie = operator.get_cookie("_csrf_token", path="/ops/rq")
    assert cookie is not None
    answer = operator.post(path, headers={"X-CSRFToken": cookie.decoded_value})
    assert (answer.status_code, answer.json) == (200, {"status": "OK"})
    assert failed_job.get_status(refresh=True) == "queued"
    assert list(failed_job.args) == [HOSTILE]


def test_requeueing_what_has_not_failed_is_a_404_and_no_fault(
    app: Flask, operator: FlaskClient
) -> None:
    operator.get("/ops/rq/")
    cookie = operator.get_cookie("_csrf_token", path="/ops/rq")
    assert cookie is not None
    headers = {"X-CSRFToken": cookie.decoded_value}
    with app.app_context():
        job = report_queue().enqueue(fail, "waiting")
    assert operator.post(f"/ops/rq/job/{job.id}/requeue", headers=headers).status_code in {404, 409}
    assert operator.post("/ops/rq/job/nothing/requeue", headers=headers).status_code == 404


def test_nothing_is_deleted_from_the_dashboard(operator: FlaskClient, failed_job: Job) -> None:
    operator.get("/ops/rq/")
    cookie = operator.get_cookie("_csrf_token", path="/ops/rq")
    assert cookie is not None
    headers = {"X-CSRFToken": cookie.decoded_value}
    assert operator.post(f"/ops/rq/job/{failed_job.id}/delete", headers=headers).json == {
        "status": "DISABLED"
    }
    assert Job.exists(failed_job.id, connection=failed_job.connection)


def test_the_redis_url_is_not_shown(app: Flask, operator: FlaskClient) -> None:
    assert app.config["REDIS_URL"].partition("?")[0] not in operator.get("/ops/rq/").text


def test_the_tab_of_jobs_opens_the_queue_that_is_there(app: Flask, operator: FlaskClient) -> None:
    page = operator.get("/ops/rq/0/view/jobs")
    assert page.status_code == 200
    assert app.config["QUEUE"] in page.text


def test_all_requests_share_the_applications_connections(app: Flask, operator: FlaskClient) -> None:
    operator.get("/ops/rq/")
    assert app.redis_conn is quick_redis(app)  # type: ignore[attr-defined]


@pytest.mark.browser
def test_what_a_job_says_is_text_and_never_markup(
    app: Flask, client_for: Callable[[str], FlaskClient], failed_job: Job, page: Any
) -> None:
    session = client_for("operator").get_cookie("session")
    assert session is not None
    with serving(app) as address:
        page.context.add_cookies([{"name": "session", "value": session.value, "url": address}])
        for path in (
            f"0/view/job/{failed_job.id}",
            f"0/view/jobs/{app.config['QUEUE']}/failed/8/asc/1",
        ):
            page.goto(f"{address}/ops/rq/{path}")
            page.get_by_text("RuntimeError").first.wait_for()
            assert HOSTILE in page.inner_text("body")
            assert page.evaluate("window.wasHit") is None
