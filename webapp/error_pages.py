"""The one place where an error becomes a page, a partial or JSON.

A program's address (/api/) answers RFC 9457 problem+json, unless its room has asked for an envelope
of its own. A person's address answers a page with a sentence and a way on; HTMX gets the sentence
alone, for the place where messages appear, so that nothing on the page is lost.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, NoResultFound, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from werkzeug.exceptions import HTTPException

from webapp import accounts
from webapp.databases import met_another, reason_of, trouble_of
from webapp.errors import (
    ERROR_TYPES,
    Conflict,
    InvalidParams,
    NotFound,
    NotSignedIn,
    ReportError,
    TooMany,
    Unavailable,
    error_type,
)
from webapp.extensions import db, login_manager
from webapp.htmx import is_htmx, vary
from webapp.security import is_api
from webapp.tracing import request_id

log = logging.getLogger(__name__)

SENTENCES = {
    400: "The request could not be read.",
    404: "There is nothing at this address, or it is not yours to see.",
    405: "This address does not take that method.",
    413: "What was sent is larger than this address accepts.",
    415: "This address does not read that content type.",
    429: "Too many requests; wait a moment.",
    500: "A fault of this program. It is in the log; trying again may help.",
}
DISKS = {
    errno.ENOSPC: "The disk of this installation is full: the operator has to make room.",
    errno.EDQUOT: "The disk of this installation is full: the operator has to make room.",
    errno.EROFS: "The disk of this installation cannot be written: it is read-only.",
    errno.EACCES: "The disk of this installation cannot be written: its folder is not ours.",
}
# Of what two did in the same moment.
MET = "Somebody changed or deleted the same at this moment: nothing was done. Look again."
GONE = "It was deleted at this moment."
STALE_FORM = "The form is too old, or came from another site. Reload the page and send it again."


@dataclass(frozen=True)
class ErrorAnswer:
    """An error as its reader is told: status, title, sentence, a sentence per field, headers."""

    status: int
    title: str
    detail: str
    errors: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


Envelope = Callable[[ErrorAnswer], Response]
_envelopes: dict[str, Envelope] = {}


def envelope(where: str, make: Envelope) -> None:
    """Let a blueprint's name, or a path such as `/api/x` and all below, answer errors its own way.

    A path also covers what no route matches: an unknown address, a method not taken.
    """
    _envelopes[where.rstrip("/")] = make


class Application(Flask):
    """Flask's own; what escapes all handlers is logged by its place, without the address."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view or hook as it is: none of ours is a coroutine, so none is looked at."""
        return func

    def log_exception(self, exc_info: Any) -> None:
        """Log an exception: an address may hold an invitation's token, and words what was sent."""
        frames = "".join(traceback.format_tb(exc_info[2]))
        name = getattr(exc_info[0], "__name__", "Exception")
        log.error("%s escaped at %s %s\n%s", name, request.method, request.endpoint, frames)


def init_app(app: Flask) -> None:
    """Turn every error of the application into an answer."""
    app.register_error_handler(ReportError, _report_error)
    app.register_error_handler(HTTPException, _http_error)
    stale = ErrorAnswer(400, "The form is out of date", STALE_FORM)
    app.register_error_handler(CSRFError, lambda _: answer_for(stale))
    for kind in (DBAPIError, PoolTimeout, RedisError):
        app.register_error_handler(kind, _database_error)
    for gone in (NoResultFound, ObjectDeletedError, StaleDataError):
        app.register_error_handler(gone, _gone)
    app.register_error_handler(OSError, _disk_error)
    app.register_error_handler(Exception, _fault)


def _report_error(error: ReportError) -> Response:
    # Credentials that do not work are said to be so; who has none is shown where to sign in.
    if isinstance(error, NotSignedIn) and not is_api() and "Authorization" not in request.headers:
        answer = accounts.require_access()
        if answer is not None:
            return answer
    headers = {}
    if isinstance(error, TooMany | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, TooMany) and error.quota:
        headers["RateLimit-Policy"] = '"tries";q={};w={}'.format(*error.quota)
        headers["RateLimit"] = f'"tries";r=0;t={error.retry_after_s}'
    errors = error.errors if isinstance(error, InvalidParams) else {}
    return answer_for(ErrorAnswer(error.status, error.title, error.message, errors, headers))


def _http_error(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return make_response(error.get_response())
    code = error.code
    detail = SENTENCES.get(code) or error.description or HTTPStatus(code).phrase
    kept = {"Allow", "Retry-After", "WWW-Authenticate"}
    headers = {name: value for name, value in error.get_headers() if name in kept}
    if code in (429, 503):
        headers.setdefault("Retry-After", "5")
    of_type = ERROR_TYPES[error_type(code)]
    title = of_type.title if of_type.status == code else error.name.capitalize()
    return answer_for(ErrorAnswer(code, title, detail, headers=headers))


def _database_error(error: Exception) -> Response:
    """Say what is wrong with database or queue; a wrong statement is a fault of ours."""
    if met_another(error):
        return _met(error, Conflict(MET))
    sentence = trouble_of(error)
    db.session.rollback()
    return _unavailable(sentence, error) if sentence else _fault(error)


def _gone(error: Exception) -> Response:
    """Say that a row went between being found and being used."""
    return _met(error, NotFound(GONE))


def _met(error: Exception, told: ReportError) -> Response:
    log.warning("%s at %s %s", type(error).__name__, request.method, request.endpoint)
    db.session.rollback()
    return _report_error(told)


def _disk_error(error: OSError) -> Response:
    sentence = DISKS.get(error.errno or 0)
    return _unavailable(sentence, error) if sentence else _fault(error)


def _unavailable(sentence: str, error: Exception) -> Response:
    log.error("%s (%s)", sentence, type(error).__name__)
    return answer_for(ErrorAnswer(503, Unavailable.title, sentence, headers={"Retry-After": "5"}))


def _fault(error: Exception) -> Response:
    """Answer 500; the log gets the place, and not the words, which may hold what was sent."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s at %s %s\n%s", type(error).__name__, request.method, request.endpoint, frames)
    db.session.rollback()
    return answer_for(ErrorAnswer(500, "Something went wrong", SENTENCES[500]))


def answer_for(problem: ErrorAnswer) -> Response:
    """Return the problem in the form this request's reader takes."""
    make = _own_envelope()
    if make is not None:
        response = make(problem)
    elif is_api():
        response = problem_json(problem)
    else:
        response = error_page(problem)
    response.headers.update(problem.headers)
    return response


def _own_envelope() -> Envelope | None:
    for name in request.blueprints:
        if name in _envelopes:
            return _envelopes[name]
    # /api/v1/report is not /api/v1/reports.
    above = [path for path in _envelopes if f"{request.path}/".startswith(f"{path}/")]
    return _envelopes[max(above, key=len)] if above else None


def problem_json(problem: ErrorAnswer) -> Response:
    """Return RFC 9457 problem+json; `errors` only where fields are to blame."""
    members: dict[str, Any] = {
        "type": f"/api/errors/{error_type(problem.status, problem.title)}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "request_id": request_id(),
    }
    if problem.errors:
        members["errors"] = problem.errors
    response = jsonify(members)
    response.status_code = problem.status
    response.content_type = "application/problem+json"
    return response


def error_page(problem: ErrorAnswer) -> Response:
    """Return the problem as a page, or as a message where HTMX asks.

    Also the envelope of the few pages for people that stand under /api/.
    """
    template = "errors/_error.html" if is_htmx() else "errors/page.html"
    response = make_response(_rendered(template, problem), problem.status)
    if is_htmx():
        response.headers["HX-Retarget"] = "#messages"
        response.headers["HX-Reswap"] = "innerHTML"
    return vary(response)


def _rendered(template: str, problem: ErrorAnswer) -> str:
    """Return a template's text; without who is signed in where the database may be away."""
    if problem.status < 500:
        try:
            return render_template(template, problem=problem, bare=False)
        except SQLAlchemyError as error:
            log.error("%s", reason_of(error))
            db.session.rollback()
    # Flask-Login looks the user up for each template it renders.
    g._login_user = login_manager.anonymous_user()
    return render_template(template, problem=problem, bare=True)
