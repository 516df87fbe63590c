"""RQ's dashboard at `/ops/rq`, for operators only, with its known holes closed.

The dashboard's blueprint is one object for the whole process, so its guards are attached once,
when this module is imported. Closed here or in `templates/rq_dashboard/`: text of jobs written raw
into the page, a queue's name written raw into a script, a GET that changes state, its changes made
without the CSRF token, pickles read from Redis, a Redis connection made anew by every request, the
Redis URL shown on the page, deleting what is running, and unknown ids answered with 500.
"""

from __future__ import annotations

from functools import partial

from flask import Flask, Response, abort, current_app, request
from flask_wtf.csrf import generate_csrf
from redis import Redis
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker
from rq_dashboard import web
from werkzeug.wrappers import Response as AnyResponse

from webapp.accounts import current_scope, require_access
from webapp.extensions import quick_redis
from webapp.security import DASHBOARD_PREFIX

REGISTRIES = frozenset(
    {"queued", "started", "finished", "failed", "deferred", "scheduled", "canceled"}
)
MOST_PER_PAGE = 200

bp = web.blueprint


def init_app(app: Flask) -> None:
    """Put the dashboard on the application's own Redis client."""
    # Shown in its menu; the client is handed over below, so no URL (and password) need be.
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("Redis",)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = quick_redis(app)  # type: ignore[attr-defined]
    app.register_blueprint(bp, url_prefix=DASHBOARD_PREFIX)


def operators_only() -> AnyResponse | None:
    """Send a visitor to sign in; for anybody signed in who is no operator there is nothing here."""
    to_sign_in = require_access()
    if to_sign_in is None and not current_scope().is_operator:
        abort(404)
    return to_sign_in


def known_things_only() -> None:
    """Refuse what the dashboard would answer with a fault, or write into a script as it is."""
    if request.endpoint == "rq_dashboard.requeue_all" and request.method != "POST":
        abort(405, response=Response(status=405, headers={"Allow": "POST"}))
    args = request.view_args or {}
    is_known = (
        args.get("instance_number", 0) == 0
        and args.get("registry_name", "queued") in REGISTRIES
        and args.get("order", "asc") in {"asc", "dsc"}
        and _is_small_number(args.get("per_page", 1), MOST_PER_PAGE)
        and _is_small_number(args.get("page", 1), 10**6)
    )
    if not is_known:
        abort(404)
    if request.endpoint == "rq_dashboard.jobs_overview" and args.get("queue_name") is None:
        # By itself its tab of jobs opens a queue "default", which is not ours.
        args["queue_name"] = current_app.config["QUEUE"]
    queue_name = args.get("queue_name")
    # Asked in any case: without Redis the dashboard would answer with a page of its own, and 200.
    known = {queue.name for queue in Queue.all(connection=quick_redis())}
    if queue_name not in known | {None, current_app.config["QUEUE"], "default"}:
        abort(404)
    if "job_id" in args and not Job.exists(args["job_id"], connection=quick_redis()):
        abort(404)


def _is_small_number(value: object, most: int) -> bool:
    text = str(value)
    return text.isascii() and text.isdigit() and 1 <= int(text) <= most


def hand_over_token(response: Response) -> Response:
    """Give the dashboard's script the CSRF token where it looks for it."""
    if response.status_code == 200:
        response.set_cookie(
            "_csrf_token",
            generate_csrf(),
            path=DASHBOARD_PREFIX,
            samesite="Strict",
            secure=current_app.config["COOKIE_SECURE"],
        )
    return response


class _Workers:
    """What the dashboard lists workers with; by itself it would unpickle the jobs they work on."""

    @staticmethod
    def all(connection: Redis) -> list[BaseWorker]:
        return Worker.all(connection=connection, serializer=JSONSerializer)


def _say(sentence: str, status: int, error: Exception) -> tuple[str, int]:
    current_app.logger.info("the dashboard met %s", type(error).__name__)
    return sentence, status


web.config.serializer = JSONSerializer
web.Worker = _Workers
bp.before_request_funcs[None].remove(web.push_rq_connection)
bp.before_request(operators_only)
bp.before_request(known_things_only)
bp.after_request(hand_over_token)
for kind, sentence, status in (
    (NoSuchJobError, "There is no such job.", 404),
    (InvalidJobOperation, "This cannot be done to that job.", 409),
):
    bp.register_error_handler(kind, partial(_say, sentence, status))
